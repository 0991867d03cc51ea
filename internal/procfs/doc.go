// Package procfs reads what the bench needs of Linux' /proc: the id of the host's boot, and the identity of a process.
// The kernel documents both in random(4) and proc_pid_stat(5).
package procfs
