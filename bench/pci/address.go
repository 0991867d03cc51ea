package pci

import "vmtb/bench"

// An Address (BDF) names a PCI function in the format of sysfs. The type is in package bench
// because bench's configuration uses it.
type Address = bench.PCIAddress

// Parse is [bench.ParsePCIAddress].
func Parse(s string) (Address, error) { return bench.ParsePCIAddress(s) }
