// Package fakeenv is the environment of commands in tests: a fake host, a separate state, and
// buffers for the output.
package fakeenv
