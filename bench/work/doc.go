// Package work runs workloads on a machine, the host or a guest, and says how they went: a shell
// command ([Shell]), tests of IGT ([IGT]), or gem_wsim ([Wsim]).
//
// A workload is started detached from whoever started it, in a session of its own, with its output
// and its exit code in files of a private directory on the machine. So it goes on when the guest's
// agent restarts, and when the machine is saved, restored or migrated, and any [bench.Machine] that
// is the same machine by then can be asked about it:
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
// [Do] is all of it for workloads that stay where they are.
//
// An error means that we do not know how the workload went; how it went, also badly, is a [Result]
// with its [Verdict].
//
// # On the machine
//
// The private directory is /var/tmp/vmtb-work-XXXX: out, err, state ("running" or "exit 0") and the
// workload's files. All processes of a run have its name in their environment (VMTB_WORK), by which
// [Run.Kill] finds also those that have left the session, as IGT's tests leave igt_runner's process
// group. The machine needs a POSIX shell, mkdir, rm and /proc; setsid(1) is used if it is there,
// from busybox too. Without it SIGINT and SIGQUIT are ignored by the workload, because a shell
// ignores them in what it starts in the background.
package work
