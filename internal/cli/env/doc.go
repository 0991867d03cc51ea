// Package env is the environment of every command of vmtb: an [Env] with the streams, the flows,
// this machine and its state. It also has code that commands share: the flags of the configuration
// and of sizes, progress, interrupts, exit codes, and the printing of JSON and of undone changes.
package env
