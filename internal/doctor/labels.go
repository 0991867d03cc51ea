package doctor

import (
	"context"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"vmtb/bench/pci"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/labels"
	"vmtb/internal/pick"
)

// yesNo returns "yes" or "no".
func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Labels returns the properties of this machine, without changing it. version is vmtb's version.
func (t *Target) Labels(ctx context.Context, version string) labels.Set {
	s := labels.Set{}
	s.Put("vmtb", version)
	s.Put("arch", runtime.GOARCH)
	s.Put("cpus", strconv.Itoa(runtime.NumCPU()))
	s.Put("kernel", t.text("/proc/sys/kernel/osrelease"))
	s.Put("lab", yesNo(t.host.InLab()))
	s.Put("ram", memory(t.text("/proc/meminfo")))
	t.labelGPU(s)
	vendor := t.Config.Host.Driver + "-vfio-pci"
	for _, name := range []string{"vfio-pci", vendor} {
		if there, err := t.host.ModuleExists(ctx, name); err == nil && there {
			s.Put("variant", name)
		}
	}
	s.Put("migration", yesNo(s["variant"] == vendor))
	if m := versionRE.FindStringSubmatch(t.firstLine(ctx, t.Config.VM.QEMU, "--version")); m != nil {
		s.Put("qemu", m[1]+"."+m[2])
	}
	accel, err := t.accel(ctx)
	s.Put("kvm", yesNo(err == nil && accel.Name == "kvm"))
	s.Put("iommu", t.iommu())
	return s
}

// labelGPU adds the properties of the PF. If no driver is bound, it adds those of Intel's GPU.
func (t *Target) labelGPU(s labels.Set) {
	// Without a journal: nothing is changed.
	pf, err := xe.FindPF(t.host.Tree(nil), pick.GPU(t.Config.Host))
	if err != nil {
		s.Put("vfs", "0")
		for _, name := range t.intelGPUs() {
			if ids, err := pci.At(t.host.Tree(nil), pci.Address(name)).IDs(); err == nil {
				s.Put("pci", ids.String())
				s.Put("gpu", vgpu.Codename(ids.Device))
			}
		}
		return
	}
	if ids, err := pf.IDs(); err == nil {
		s.Put("pci", ids.String())
		s.Put("gpu", vgpu.Codename(ids.Device))
	}
	if n, err := pf.TotalVFs(); err == nil {
		s.Put("vfs", strconv.Itoa(n))
	}
	s.Put("driver", pf.Driver())
	s.Put("gts", strconv.Itoa(len(pf.GTs)))
	s.Put("vram", yesNo(pf.VRAM))
	s.Put("guc", foundVersion(t.text("/sys/kernel/debug/dri/"+string(pf.Address)+"/gt0/uc/guc_info")))
	s.Put("sysfs", "debugfs")
	if _, err := t.host.System.ReadDir(pf.Dir() + "/sriov_admin"); err == nil {
		s.Put("sysfs", "sriov_admin")
	}
}

// iommu returns the kind of the IOMMU in use: "intel", "amd", or the kernel's name for it.
func (t *Target) iommu() string {
	entries, _ := t.host.System.ReadDir("/sys/class/iommu") // none without an IOMMU
	if len(entries) == 0 {
		return "none"
	}
	switch name := entries[0].Name(); {
	case strings.HasPrefix(name, "dmar"):
		return "intel"
	case strings.HasPrefix(name, "ivhd"):
		return "amd"
	default:
		return name
	}
}

var (
	memTotal     = regexp.MustCompile(`(?m)^MemTotal:\s+([0-9]+) kB`)
	firmwareWord = regexp.MustCompile(`(?m)^\s*found ([0-9]+(?:\.[0-9]+)+)`)
)

// memory returns the memory of the machine from /proc/meminfo, in whole GiB: "62G".
func memory(meminfo string) string {
	m := memTotal.FindStringSubmatch(meminfo)
	if m == nil {
		return ""
	}
	kib, _ := strconv.ParseUint(m[1], 10, 64) // digits
	return strconv.FormatUint(kib>>20, 10) + "G"
}

// foundVersion returns the version of the firmware that the driver found, from its guc_info.
func foundVersion(text string) string {
	if m := firmwareWord.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}
