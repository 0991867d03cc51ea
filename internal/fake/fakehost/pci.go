package fakehost

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// address is a function's: VFs follow the PF, eight functions to a slot.
func (h *Host) address(fn int) string {
	rid := h.o.Bus<<8 + h.o.Slot<<3 + fn
	return fmt.Sprintf("0000:%02x:%02x.%x", rid>>8, rid>>3&0x1f, rid&7)
}

// function finds the number of the function with an address, -1 if there is none now.
func (h *Host) function(address string) int {
	for fn := 0; fn <= h.s.NumVFs; fn++ {
		if h.address(fn) == strings.TrimSpace(address) {
			return fn
		}
	}
	return -1
}

// pfBound reports that xe runs the PF.
func (h *Host) pfBound() bool { return h.s.Functions[0].Driver == "xe" }

// writeNumVFs is sriov_numvfs_store of drivers/pci/iov.c, then xe_pci_sriov_configure.
func (h *Host) writeNumVFs(text string) error {
	n64, err := parseUint(text, 16)
	n := int(n64)
	switch {
	case err != nil:
		return syscall.EINVAL
	case n > h.o.TotalVFs:
		return syscall.ERANGE
	case n == h.s.NumVFs:
		return nil
	case !h.pfBound():
		return syscall.ENOENT
	case n == 0:
		h.disable()
		return nil
	case h.s.NumVFs != 0:
		return syscall.EBUSY
	case h.s.Wedged:
		return syscall.ECANCELED
	case h.Lockdown || h.lockdowns > 0:
		return syscall.EPERM
	}
	if !h.s.Custom {
		if err := h.autoProvision(n); err != nil {
			h.release(n)
			return err
		}
	}
	h.s.NumVFs = n
	h.nodes = nil
	for fn := 1; fn <= n; fn++ {
		h.s.Functions[fn].Driver, h.s.Functions[fn].Override = "", ""
		_ = h.probe(fn) // enabling does not depend on it
	}
	return nil
}

func (h *Host) disable() {
	for fn := 1; fn <= h.s.NumVFs; fn++ {
		h.held(fn)
	}
	for fn := 1; fn <= h.s.NumVFs; fn++ {
		h.s.Functions[fn].Driver, h.s.Functions[fn].Override = "", ""
		h.ready(fn)
	}
	if !h.s.Custom && h.recent() && h.s.NumVFs > 0 {
		h.defaultScheduling()
	}
	if !h.s.Custom || h.o.Flat {
		h.release(h.s.NumVFs)
	}
	h.s.NumVFs = 0
	h.nodes = nil
}

// release takes the configuration of VF1..n away.
func (h *Host) release(n int) {
	for fn := 1; fn <= n; fn++ {
		h.s.Functions[fn].clear()
	}
}

// match says which driver would take a function: really_probe with driver_override and pci_device_can_probe.
func (h *Host) match(fn int) string {
	f := h.s.Functions[fn]
	switch {
	case f.Override != "":
		return f.Override
	case fn == 0 || h.s.Autoprobe:
		return "xe"
	}
	return ""
}

// probe is a driver being asked to take a function. What xe says of a VF without resources was not seen in its source.
func (h *Host) probe(fn int) error {
	f := &h.s.Functions[fn]
	driver := h.match(fn)
	if f.Driver != "" || h.NeverBind || !h.loaded(driver) {
		return nil
	}
	if driver == "xe" && fn > 0 {
		if err := h.connect(fn); err != nil {
			return err
		}
	}
	f.Driver = driver
	h.nodes = nil
	return nil
}

func (h *Host) loaded(driver string) bool {
	return slices.Contains(h.s.Loaded, strings.ReplaceAll(driver, "-", "_"))
}

func (h *Host) writeDriversProbe(text string) error {
	fn := h.function(text)
	if fn < 0 {
		return syscall.ENODEV
	}
	_ = h.probe(fn) // success says nothing about whether a driver took it
	return nil
}

func (h *Host) writeBind(driver, text string) error {
	fn := h.function(text)
	if fn < 0 || h.match(fn) != driver {
		return syscall.ENODEV
	}
	if h.s.Functions[fn].Driver != "" {
		return syscall.EBUSY
	}
	return h.probe(fn)
}

func (h *Host) writeUnbind(driver, text string) error {
	fn := h.function(text)
	if fn < 0 || h.s.Functions[fn].Driver != driver {
		return syscall.ENODEV
	}
	if fn == 0 {
		h.unbindPF()
		return nil
	}
	h.held(fn)
	h.s.Functions[fn].Driver = ""
	h.withoutDriver(fn)
	h.nodes = nil
	return nil
}

// unbindPF is xe letting go of its GPU: VFs go, and all provisioning with them.
func (h *Host) unbindPF() {
	h.disable()
	fresh := newState(h.o)
	h.s.Functions, h.s.GTs, h.s.Custom = fresh.Functions, fresh.GTs, false
	h.s.GGTTSpare, h.s.VRAMSpare = 0, 0
	h.nodes, h.fixed = nil, nil
}

func (h *Host) writeOverride(fn int, text string) error {
	if len(text) >= 4095 {
		return syscall.EINVAL
	}
	h.s.Functions[fn].Override, _, _ = strings.Cut(text, "\n")
	return nil
}

func (h *Host) writeAutoprobe(text string) error {
	on, ok := kernelBool(text)
	if !ok {
		return syscall.EINVAL
	}
	h.s.Autoprobe = on
	return nil
}

// kernelBool is the kernel's kstrtobool: the first character decides, for "o" the second.
func kernelBool(text string) (value, ok bool) {
	text = strings.ToLower(text)
	switch {
	case text == "":
		return false, false
	case strings.ContainsRune("1yt", rune(text[0])), strings.HasPrefix(text, "on"):
		return true, true
	case strings.ContainsRune("0nf", rune(text[0])), strings.HasPrefix(text, "of"):
		return false, true
	}
	return false, false
}

func (h *Host) group(fn int) int { return 10 + fn }

// vfioNodes are the files in /dev/vfio of a function that a VFIO driver has.
func (h *Host) vfioNodes(fn int) []string {
	if !strings.Contains(h.s.Functions[fn].Driver, "vfio") {
		return nil
	}
	return []string{fmt.Sprintf("/dev/vfio/%d", h.group(fn)), fmt.Sprintf("/dev/vfio/devices/vfio%d", fn-1)}
}

// writeMSIX is sriov_vf_msix_count_store. xe has no say in how many interrupts its VFs have.
func writeMSIX(text string) error {
	if _, err := parseUint(text, 31); err != nil {
		return syscall.EINVAL
	}
	return syscall.EOPNOTSUPP
}
