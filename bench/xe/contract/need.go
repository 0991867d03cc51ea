package contract

import (
	"vmtb/internal/prose"
)

// A Need is a property that some devices or kernels lack.
type Need struct {
	Name  string // as in the documentation
	check func(p *Probe) bool
}

func (n Need) String() string { return n.Name }

// These are the needs of rules.
var (
	tree       = Need{"the sriov/ tree (6.19 and later)", func(p *Probe) bool { return !p.flat }}
	flat       = Need{"the flat layout (up to 6.18)", func(p *Probe) bool { return p.flat }}
	admin      = Need{"sriov_admin (6.19 and later)", func(p *Probe) bool { return p.exists("A/pf") }}
	discrete   = Need{"a GPU with memory of its own", func(p *Probe) bool { return p.vram }}
	integrated = Need{"a GPU without memory of its own", func(p *Probe) bool { return !p.vram }}
	twoGTs     = Need{"two GTs", func(p *Probe) bool { return len(p.gts) == 2 }}
	oneGT      = Need{"one GT", func(p *Probe) bool { return len(p.gts) == 1 }}
	migration  = Need{
		"migration of VFs (6.19 and later)", func(p *Probe) bool { return p.exists("D/sriov/vf1/migration_data") },
	}
	hasVFIO   = Need{"xe-vfio-pci, loaded", func(p *Probe) bool { return p.exists("/sys/bus/pci/drivers/xe-vfio-pci") }}
	vramQuota = Need{"vram_quota in sysfs (7.0)", func(p *Probe) bool { return p.exists("A/vf1/profile/vram_quota") }}
	noFloor   = Need{"the minima of production kernels", func(p *Probe) bool { return p.ggttSpare >= minGGTTSpare }}
	workingPF = Need{"a PF that is not for administration only", func(p *Probe) bool {
		text, err := p.Read("/sys/kernel/config/xe/{PF}/sriov/admin_only_pf")
		return err != nil || text != "yes\n"
	}}
	smallPages = Need{"GGTT quotas in steps of 4 KiB (ATS-M has 64 KiB)", func(p *Probe) bool {
		device, err := p.uint("P/device")
		return err != nil || device < 0x56c0 || device > 0x56c2
	}}
)

// vfs returns the need for n VFs.
func vfs(n int) Need {
	return Need{prose.Count(n, "VF"), func(p *Probe) bool { return p.Total >= n }}
}

// A MissingError says that a rule cannot be checked here. It is for a need that shows only after
// the rule's first steps.
type MissingError struct{ What string }

func (e *MissingError) Error() string { return "needs " + e.What }

// Unmet returns why a rule cannot be checked here, or "" if it can. It does not check whether
// destructive rules are allowed.
func (p *Probe) Unmet(r Rule) string {
	for _, n := range r.Needs {
		if !n.check(p) {
			return "needs " + n.Name
		}
	}
	return ""
}
