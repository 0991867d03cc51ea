// Package fakeqga plays a QEMU guest agent for tests: it synchronises as the real one (7.2) does and leaves the
// commands to the test.
package fakeqga
