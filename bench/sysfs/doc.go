// Package sysfs reads and writes the files through which a Linux kernel shows itself: sysfs,
// debugfs, procfs.
//
// A [Tree] is the host's files and the journal that changes of them go to. A value is written in
// one write(2); a refusal is a [bench.HostError] with the errno's name, the path, the value and,
// for the refusals that people meet, what to do about it (advice.go is the table). Everything
// above, up to the provisioning of a GPU, runs on any [FS], so it can be tested in milliseconds on
// the fake host of internal/fake/fakehost.
package sysfs
