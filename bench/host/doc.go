// Package host is the machine that vmtb runs on, which is the one under test: its programs, files
// and kernel modules.
//
// A [Host] is a [bench.Machine], like every guest. Methods that change the host take an [undo.Log]
// and record the change there first. The operating system is an interface ([System]), so that
// everything above it also runs on a fake host:
//
//	h := host.New(host.OS{})
//	vfio, err := h.LoadDrivers(ctx, log, "xe")    // "xe-vfio-pci" or "vfio-pci"
//	pf, err := xe.FindPF(h.Tree(log), xe.TheOnlyOne)
//	...
//	err = log.Undo(ctx, h.System)
//
// [Host.Suspend] puts the host to sleep, proves that it slept, and checks that its VFs came back
// unchanged.
package host
