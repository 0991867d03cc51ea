package pci

import (
	"fmt"
	"math/bits"
	"strings"
)

// These lines of a PF's file "resource" describe the memory of its VFs: start, end and flags
// (Linux, include/linux/pci.h, PCI_IOV_RESOURCES). The flags are those of include/linux/ioport.h.
const (
	firstVFResource   = 7
	vfResources       = 6
	resourcePrefetch  = 0x2000
	resourceMemory64  = 0x100000
	resourceWindowBit = resourcePrefetch | resourceMemory64
)

// VFWindow returns how many MiB of 64-bit prefetchable address space a bridge needs so that one VF
// of this PF can be plugged in below it. It is twice the size of the VF's BARs, so that the window
// may begin anywhere. It is 0 if the VFs have no such BAR or the kernel does not report one.
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

// vfBARs returns the size in bytes of the prefetchable 64-bit BARs of one VF. The kernel reports
// each BAR for all total VFs together (drivers/pci/iov.c, sriov_init()).
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
