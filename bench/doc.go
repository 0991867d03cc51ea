// Package bench is the vocabulary of vmtb: a machine, a command that runs on it, the kinds of
// errors, and the user's configuration. It does no I/O.
//
// Start with [Machine]. The host under test (package bench/host) and every virtual machine (package
// bench/vm) implement it, so a workload or a check is written once and runs on both. A [Command] is
// the input of an execution, and a [Result] its output. Errors that cross a package boundary are of
// one of the kinds in errors.go. With them a report tells a broken driver from a broken lab.
package bench
