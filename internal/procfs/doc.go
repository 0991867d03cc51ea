// Package procfs reads from Linux' /proc the id of the host's boot, and the identity of a process.
// random(4) and proc_pid_stat(5) document both.
package procfs
