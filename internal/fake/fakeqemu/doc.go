// Package fakeqemu plays QEMU with a guest in a separate process. The guest's state can be
// migrated. Tests choose the failures: QEMU can refuse any command, crash on it, or carry it out
// without an answer.
package fakeqemu
