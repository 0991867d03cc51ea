// Package fakefiles is a [fakehost.Host] on which tests say what some files hold, and on which VFs
// are enabled and in use.
package fakefiles
