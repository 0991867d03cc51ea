package fakehost

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// core is the part that all parts of a fake host share: its state, and the lock that guards it. The
// caller of its methods must hold the lock.
type core struct {
	o      Options
	hooks  *Hooks
	mu     sync.Mutex
	freed  sync.Cond // a process has ended, or a VF's control state has changed
	opened map[int]*VFIO
	s      state
	nodes  map[string]node // the tree for s; nil if its shape has changed
	// The part of the tree for provisioning; nil if the functions have changed.
	fixed builder
}

// recent reports whether the driver is Linux 7.3's, not one up to 6.18.
func (c *core) recent() bool { return !c.o.Flat }

// address returns a function's PCI address. VFs follow the PF, eight functions to a slot.
func (c *core) address(fn int) string {
	rid := c.o.Bus<<8 + c.o.Slot<<3 + fn
	return fmt.Sprintf("0000:%02x:%02x.%x", rid>>8, rid>>3&0x1f, rid&7)
}

// function returns the number of the function with an address, or -1 if there is none.
func (c *core) function(address string) int {
	for fn := 0; fn <= c.s.NumVFs; fn++ {
		if c.address(fn) == strings.TrimSpace(address) {
			return fn
		}
	}
	return -1
}

// pfBound reports whether xe runs the PF.
func (c *core) pfBound() bool { return c.s.Functions[0].Driver == "xe" }

// loaded reports whether the module of a driver is loaded.
func (c *core) loaded(driver string) bool {
	return slices.Contains(c.s.Loaded, strings.ReplaceAll(driver, "-", "_"))
}

// group returns a function's IOMMU group.
func (c *core) group(fn int) int { return 10 + fn }

// vfioNodes returns the files in /dev/vfio of a function with a VFIO driver.
func (c *core) vfioNodes(fn int) []string {
	if !strings.Contains(c.s.Functions[fn].Driver, "vfio") {
		return nil
	}
	return []string{fmt.Sprintf("/dev/vfio/%d", c.group(fn)), fmt.Sprintf("/dev/vfio/devices/vfio%d", fn-1)}
}

// woken wakes up all goroutines that wait for freed.
func (c *core) woken() { c.freed.Broadcast() }
