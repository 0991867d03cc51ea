// Package fakeqemu plays QEMU with a guest, whose state can be migrated, in a process of its own.
// Tests choose what fails: any command that QEMU is given can be refused, crash QEMU, or be obeyed
// without an answer.
package fakeqemu
