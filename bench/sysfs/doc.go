// Package sysfs reads and writes the kernel's own files: sysfs, debugfs, procfs.
//
// A [Tree] is the host's files and the journal for changes of them. A value is written in one
// write(2). A refusal is a [bench.HostError] with the errno's name, the path and the value. For
// common refusals it also says what to do (advice.go has the table). Everything above, up to the
// provisioning of a GPU, runs on any [FS], so it can be tested in milliseconds on the fake host of
// internal/fake/fakehost.
package sysfs
