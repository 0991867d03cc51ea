// Package vm runs QEMU virtual machines.
//
// A [Spec] describes a machine as data: memory, disks or a kernel, VFs, shares. [Spec.Args] renders
// it as QEMU's arguments and does not look at the host, so a test can compare exact text. [Start]
// makes one run of it:
//
//	m, err := vm.Start(ctx, spec, vm.Options{Dir: "results/vm0"})
//	defer m.Close(ctx)                 // ends QEMU, removes sockets and overlays
//	err = m.WaitReady(ctx)             // the guest's agent answers
//	r, err := m.Exec(ctx, bench.Shell("uname -r"))
//	err = m.Snapshots().Save(ctx, "clean")
//	step, err := m.Power().Off(ctx)    // agent, ACPI, quit, kill: as far as needed
//
// # The parts of a machine
//
// Each part has the state that it alone uses:
//
//	[Guest]       the system in the machine: commands, files, directories, the agent
//	[Power]       what starts, stops and ends the guest: pause, reboot, sleep, off
//	[Snapshots]   states in the machine's disks
//	[StateFiles]  states in files of the host
//	[Evidence]    what can be learned of a machine: screen, memory, threads, console
//	[UserAccess]  how people get at it: VNC, SSH, serial console
//
// What all of them need is not exported: life (the machine's name, the scale of its deadlines, its
// end), guestEvents (what QEMU's events have told), states (one transition at a time), diagnosis
// (whose fault an end is), logs, disks, and mover (QEMU's migration protocol). [Transitions] lists
// the ways from one [State] to another.
//
// # What a run leaves
//
// The caller's folder ([Options.Dir]) keeps the evidence: argv (a line for a shell), console.log,
// stderr.log, qmp.jsonl, qga.jsonl, and evidence-1 and on of a machine that stopped answering
// ([Evidence.Collect]). For people it has access.txt and vnc-password. Sockets are in a private
// directory with a short path, because the path of a Unix socket has at most 108 bytes. Overlays are
// in a private directory below [Options.WorkDir]. [VM.Close] removes both directories.
//
// # The guard
//
// QEMU must not outlive vmtb. Therefore each QEMU runs below a guard (package
// [vmtb/bench/vm/guard]), and every program that uses this package begins with a call of guard.Run.
//
// # Whose fault
//
// A guest that panics, shuts down by itself or never starts its agent is a [bench.GuestError]. A VF
// that the host does not have is a [bench.HostError]. A QEMU that is missing or crashes is a
// [bench.InfraError]. A description or an image that cannot work is a [bench.UsageError]. Every wait
// ends at once when QEMU ends, or when the guest panics.
package vm
