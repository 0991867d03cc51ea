// Package bench is the vocabulary that the rest of vmtb is written in: what a machine is, what running a
// command on it means, whose fault an error is, and what a user may configure. It does no I/O.
//
// Start with [Machine]: the host under test (package bench/host) and every virtual machine (package bench/vm)
// implement it, so a workload or a check is written once and runs on both. [Command] and [Result] say what goes
// in and what comes out of an execution. Errors that cross a package boundary are of one of the kinds in
// errors.go, which is how a report can tell a broken driver from a broken lab.
package bench
