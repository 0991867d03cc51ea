package fakehost

import (
	"slices"
	"strings"
	"syscall"
)

// A pciBus has the PCI functions and their drivers, and the files that enable VFs and bind drivers.
type pciBus struct {
	*core
	provisioner *provisioner
	ctl         *controller
	locked      func() bool // whether a process holds lockdown_vfs_enabling
}

// writeNumVFs does the work of sriov_numvfs_store in drivers/pci/iov.c, and then of
// xe_pci_sriov_configure.
func (p *pciBus) writeNumVFs(text string) error {
	n64, err := parseUint(text, 16)
	n := int(n64)
	switch {
	case err != nil:
		return syscall.EINVAL
	case n > p.o.TotalVFs:
		return syscall.ERANGE
	case n == p.s.NumVFs:
		return nil
	case !p.pfBound():
		return syscall.ENOENT
	case n == 0:
		p.disable()
		return nil
	case p.s.NumVFs != 0:
		return syscall.EBUSY
	case p.locked():
		return syscall.EPERM
	}
	if !p.s.Custom {
		if err := p.provisioner.autoProvision(n); err != nil {
			p.provisioner.release(n)
			return err
		}
	}
	p.s.NumVFs = n
	p.nodes = nil
	for fn := 1; fn <= n; fn++ {
		p.s.Functions[fn].Driver, p.s.Functions[fn].Override = "", ""
		_ = p.probe(fn) // enabling succeeds even if probing fails
	}
	return nil
}

func (p *pciBus) disable() {
	for fn := 1; fn <= p.s.NumVFs; fn++ {
		p.held(fn)
	}
	for fn := 1; fn <= p.s.NumVFs; fn++ {
		p.s.Functions[fn].Driver, p.s.Functions[fn].Override = "", ""
		p.ctl.ready(fn)
	}
	if !p.s.Custom && p.recent() && p.s.NumVFs > 0 {
		p.provisioner.defaultScheduling()
	}
	if !p.s.Custom || p.o.Flat {
		p.provisioner.release(p.s.NumVFs)
	}
	p.s.NumVFs = 0
	p.nodes = nil
}

// match returns the driver that would bind a function, or "" if none would: really_probe with
// driver_override and pci_device_can_probe.
func (p *pciBus) match(fn int) string {
	f := p.s.Functions[fn]
	switch {
	case f.Override != "":
		return f.Override
	case fn == 0 || p.s.Autoprobe:
		return "xe"
	}
	return ""
}

// probe binds a driver to a function. The error that xe returns for a VF without resources is a
// guess.
func (p *pciBus) probe(fn int) error {
	f := &p.s.Functions[fn]
	driver := p.match(fn)
	if f.Driver != "" || p.hooks.NeverBind || !p.loaded(driver) {
		return nil
	}
	if driver == "xe" && fn > 0 {
		if err := p.ctl.connect(fn); err != nil {
			return err
		}
	}
	f.Driver = driver
	p.nodes = nil
	return nil
}

func (p *pciBus) writeDriversProbe(text string) error {
	fn := p.function(text)
	if fn < 0 {
		return syscall.ENODEV
	}
	_ = p.probe(fn) // success does not mean that a driver was bound
	return nil
}

func (p *pciBus) writeBind(driver, text string) error {
	fn := p.function(text)
	if fn < 0 || p.match(fn) != driver {
		return syscall.ENODEV
	}
	if p.s.Functions[fn].Driver != "" {
		return syscall.EBUSY
	}
	return p.probe(fn)
}

func (p *pciBus) writeUnbind(driver, text string) error {
	fn := p.function(text)
	if fn < 0 || p.s.Functions[fn].Driver != driver {
		return syscall.ENODEV
	}
	if fn == 0 {
		p.unbindPF()
		return nil
	}
	p.held(fn)
	p.s.Functions[fn].Driver = ""
	p.ctl.withoutDriver(fn)
	p.nodes = nil
	return nil
}

// unbindPF unbinds xe from the PF. VFs and all provisioning are lost.
func (p *pciBus) unbindPF() {
	p.disable()
	fresh := newState(p.o)
	p.s.Functions, p.s.GTs, p.s.Custom = fresh.Functions, fresh.GTs, false
	p.s.GGTTSpare, p.s.VRAMSpare = 0, 0
	p.nodes, p.fixed = nil, nil
}

func (p *pciBus) writeOverride(fn int, text string) error {
	if len(text) >= 4095 {
		return syscall.EINVAL
	}
	p.s.Functions[fn].Override, _, _ = strings.Cut(text, "\n")
	return nil
}

func (p *pciBus) writeAutoprobe(text string) error {
	on, ok := kernelBool(text)
	if !ok {
		return syscall.EINVAL
	}
	p.s.Autoprobe = on
	return nil
}

// kernelBool is the kernel's kstrtobool: the first character decides, or for "o" the second.
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

// writeMSIX does the work of sriov_vf_msix_count_store. xe cannot change the number of its VFs'
// interrupts.
func writeMSIX(text string) error {
	if _, err := parseUint(text, 31); err != nil {
		return syscall.EINVAL
	}
	return syscall.EOPNOTSUPP
}

// writeReset does the work of reset_store in drivers/pci/pci-sysfs.c, with an FLR. A reset of the
// PF does not change its VFs.
func (p *pciBus) writeReset(fn int, text string) error {
	v, err := parseUint(text, 64)
	if err != nil || v != 1 {
		return syscall.EINVAL
	}
	if fn == 0 || !p.pfBound() {
		return nil
	}
	// The device is reset all the same: the PF's error goes only to the kernel log.
	_ = p.ctl.reset(fn)
	return nil
}

// held waits until no process has a function open through VFIO, as the kernel does before it
// removes a device.
func (p *pciBus) held(fn int) {
	for slices.ContainsFunc(p.vfioNodes(fn), p.isOpen) {
		p.freed.Wait()
	}
}

func (p *pciBus) isOpen(file string) bool {
	for _, p := range p.s.Processes {
		if slices.Contains(p.Open, file) {
			return true
		}
	}
	return false
}
