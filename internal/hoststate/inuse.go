package hoststate

import (
	"path"

	"vmtb/bench/host"
	"vmtb/bench/pci"
	"vmtb/bench/undo"
	"vmtb/internal/pick"
)

// EnabledVFsOf returns the PF whose VFs a change has enabled. ok is false for other changes, and
// for a change that a reboot has undone.
func EnabledVFsOf(e undo.Entry) (pf pci.Address, ok bool) {
	write, ok := e.Record.(undo.Write)
	if !ok || e.Gone() || path.Base(write.Path) != "sriov_numvfs" {
		return "", false
	}
	return pci.Address(path.Base(path.Dir(write.Path))), true
}

// CheckUnused returns an error if a process uses a VF that undoing log would disable or unbind. The
// kernel would block until the VF is free.
func CheckUnused(sys host.System, log *undo.Log) error {
	tree := host.New(sys).Tree(log)
	for _, e := range log.Pending() {
		if pf, ok := EnabledVFsOf(e); ok {
			// An error means that the PF, and so its VFs, no longer exist.
			vfs, _ := pci.At(tree, pf).VFs()
			if err := pick.CheckUnused(sys, vfs...); err != nil {
				return err
			}
		}
		if b, ok := e.Record.(undo.Binding); ok && !e.Gone() {
			if err := pick.CheckUnused(sys, pci.At(tree, pci.Address(path.Base(b.Device)))); err != nil {
				return err
			}
		}
	}
	return nil
}
