// Package vm runs QEMU virtual machines.
//
// A [Spec] describes a machine as data: memory, disks or a kernel, VFs, shares. [Spec.Args] renders it as QEMU's
// arguments and touches nothing, so a description can be tested as exact text. [Start] makes one run of it:
//
//	m, err := vm.Start(ctx, spec, vm.Options{Dir: "results/vm0"})
//	defer m.Close(ctx)                 // QEMU gone, sockets and overlay removed, whatever happened before
//	err = m.WaitReady(ctx)             // the guest's agent answers
//	r, err := m.Exec(ctx, bench.Shell("uname -r"))
//	step, err := m.Power().Off(ctx)     // agent, ACPI, quit, kill: whichever is needed
//
// # What a run leaves and what it does not
//
// The caller's folder ([Options.Dir]) keeps the evidence: argv (a line for a shell), console.log, stderr.log,
// qmp.jsonl and qga.jsonl, and evidence-1 and on of a machine that stopped answering ([Evidence.Collect]); for people
// access.txt and vnc-password. Sockets live in a private directory with a short path, because a Unix socket's path has
// 108 bytes at most; overlays live in a private directory below [Options.WorkDir]. Both are removed by [VM.Close].
//
// # The guard
//
// QEMU must not outlive vmtb. Therefore each QEMU runs below a guard (package
// [vmtb/bench/vm/guard]), and every program that uses this package begins with a call of guard.Run.
//
// # Whose fault
//
// A guest that panics, shuts down by itself or never brings up its agent is a [bench.GuestError]; a VF that the host
// does not have is a [bench.HostError]; a QEMU that is missing or dies is a [bench.InfraError]; a description or an
// image that cannot work is a [bench.UsageError]. Every wait ends at once when QEMU does, or when the guest panics.
package vm
