// Package fakeqga plays a QEMU guest agent for tests. It synchronises like the real agent (7.2).
// The test implements the commands.
package fakeqga
