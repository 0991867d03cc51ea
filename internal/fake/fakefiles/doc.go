// Package fakefiles is a [fakehost.Host] on which tests set the content of some files, with VFs
// that are enabled and in use.
package fakefiles
