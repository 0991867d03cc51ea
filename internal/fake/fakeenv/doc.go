// Package fakeenv is what commands get in tests: a host that is a fake, a state of its own, and
// buffers for what is printed.
package fakeenv
