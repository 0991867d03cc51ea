package pci

import "vmtb/bench"

// An Address (BDF) names a PCI function as sysfs does. The type is in package bench, whose configuration has one.
type Address = bench.PCIAddress

// Parse is [bench.ParsePCIAddress].
func Parse(s string) (Address, error) { return bench.ParsePCIAddress(s) }
