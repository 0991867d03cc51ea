package pci

import (
	"fmt"
	"math/bits"
	"strings"
)

// Where the memory of VFs is in a PF's file "resource", a line each with start, end and flags
// (Linux, include/linux/pci.h, PCI_IOV_RESOURCES), and flags of theirs (include/linux/ioport.h).
const (
	firstVFResource   = 7
	vfResources       = 6
	resourcePrefetch  = 0x2000
	resourceMemory64  = 0x100000
	resourceWindowBit = resourcePrefetch | resourceMemory64
)

// VFWindow is how many MiB of 64-bit prefetchable address space a bridge must have for one VF of
// this PF to be plugged in below it, wherever the window begins: twice what its BARs take. It is 0
// if the VFs have no such BAR, or the kernel tells none.
func (d *Device) VFWindow() (int, error) {
	total, err := d.TotalVFs()
	if err != nil || total == 0 {
		return 0, err
	}
	const file = "/resource"
	if !d.tree.Exists(d.Dir() + file) {
		return 0, nil
	}
	text, err := d.tree.Text(d.Dir() + file)
	if err != nil {
		return 0, err
	}
	size, err := vfBARs(text, uint64(total))
	if err != nil {
		return 0, fmt.Errorf("%s%s: %w", d.Dir(), file, err)
	}
	if size == 0 {
		return 0, nil
	}
	mib := (size + 1<<20 - 1) >> 20
	return 2 << bits.Len64(mib-1), nil
}

// vfBARs adds up the prefetchable 64-bit BARs of one VF. The kernel tells each BAR of all total VFs
// together (drivers/pci/iov.c, sriov_init()).
func vfBARs(text string, total uint64) (size uint64, err error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := firstVFResource; i < min(len(lines), firstVFResource+vfResources); i++ {
		var start, end, flags uint64
		if _, err := fmt.Sscanf(lines[i], "0x%x 0x%x 0x%x", &start, &end, &flags); err != nil || end < start {
			return 0, fmt.Errorf("line %d: %q: want start, end and flags", i+1, lines[i])
		}
		if end > start && flags&resourceWindowBit == resourceWindowBit {
			size += (end - start + 1) / total
		}
	}
	return size, nil
}
