// Package work runs workloads on a machine, the host or a guest, and returns their results. A
// workload is a shell command ([Shell]), tests of IGT ([IGT]), or gem_wsim ([Wsim]).
//
// A workload runs detached, in its own session. Its output and its exit code go to files in a
// private directory on the machine. So it keeps running when the guest's agent restarts, and when
// the machine is saved, restored or migrated. Afterwards any [bench.Machine] that stands for the
// same machine can read its results:
//
//	wsim := work.Wsim{Config: c.Guest.IGT, Descriptor: work.Preemptible, Repeats: 1000}
//	run, err := work.Start(ctx, vm0, wsim, work.Options{})
//	...                                  // vm0 is saved, vm1 restored from it
//	run = run.On(vm1)
//	result, err := run.Wait(ctx)
//	err = run.Remove(ctx)
//
// [Prepare] and [Prepared.Start] start workloads on several machines at the same time.
//
// [Do] runs a workload to its end on one machine.
//
// An error means that the workload's result is unknown. A known result, good or bad, is a [Result]
// with its [Verdict].
//
// # On the machine
//
// The private directory is /var/tmp/vmtb-work-XXXX: out, err, state ("running" or "exit 0") and the
// workload's files. All processes of a run have its name in their environment (VMTB_WORK).
// [Run.Kill] finds them by it, even those that have left the session, as IGT's tests leave
// igt_runner's process group. The machine needs a POSIX shell, mkdir, rm and /proc. setsid(1) is
// used if it exists, from busybox too. Without it the workload ignores SIGINT and SIGQUIT, because
// a shell ignores them in background commands.
package work
