// Package host is the machine that vmtb runs on, the one under test: its programs, files and kernel
// modules.
//
// A [Host] is a [bench.Machine], like every guest. What changes it takes an [undo.Log] and is
// recorded there first. The operating system below is an interface ([System]), so that everything
// above runs on a fake host too:
//
//	h := host.New(host.OS{})
//	vfio, err := h.LoadDrivers(ctx, log, "xe")    // "xe-vfio-pci" or "vfio-pci"
//	pf, err := xe.FindPF(h.Tree(log), xe.TheOnlyOne)
//	...
//	err = log.Undo(ctx, h.System)
//
// [Host.Suspend] puts the host to sleep, proves that it slept, and sees to it that its VFs have
// come back as they were.
package host
