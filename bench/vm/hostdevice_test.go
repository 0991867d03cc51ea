package vm

import (
	"testing"

	"vmtb/bench/pci"
)

// TestHostDevice: a PCI domain above ffff is passed by sysfsdev=, because QEMU's host= does not
// take it.
func TestHostDevice(t *testing.T) {
	for address, want := range map[string]string{
		"0000:03:00.1":  "vfio-pci,host=0000:03:00.1,id=vf0",
		"ffff:03:00.1":  "vfio-pci,host=ffff:03:00.1,id=vf0",
		"10000:e1:00.1": "vfio-pci,sysfsdev=/sys/bus/pci/devices/10000:e1:00.1,id=vf0",
	} {
		if got := (Spec{Machine: "pc", VFs: []VF{{Host: pci.Address(address)}}}).vfDevice(0).String(); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
		if m := vfioRE.FindStringSubmatch("qemu: -device " + want + ": no such device"); m == nil || m[1] != address {
			t.Errorf("%s: QEMU's refusal is not understood: %q", address, m)
		}
	}
}
