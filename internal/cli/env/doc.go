// Package env is what every command of vmtb gets: an [Env] with the streams, the flows, this
// machine and its state. Around it is what commands share: the flags of the configuration and of
// sizes, progress, interrupts, exit codes, the printing of JSON, and of what was undone on the
// host.
package env
