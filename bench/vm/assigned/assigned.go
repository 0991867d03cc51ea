package assigned

import (
	"vmtb/bench/pci"
	"vmtb/bench/vm"
	"vmtb/bench/xe"
)

// plainVFIO is the driver with which the state of a VF cannot be moved.
const plainVFIO = "vfio-pci"

// VF returns VF n of a PF, the device d, as a machine gets it by a VFIO driver. It has no window,
// which only machines need that get the VF later: see [vm.VF].
func VF(pf *xe.PF, n int, d *pci.Device, driver string) (vm.VF, error) {
	mib, err := pf.Control(n).MigrationMiB()
	if err != nil {
		return vm.VF{}, err
	}
	return vm.VF{Host: d.Address, EnableMigration: driver != plainVFIO, StateMiB: mib}, nil
}
