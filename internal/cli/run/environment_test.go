package run

import (
	"slices"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/flow"
	"vmtb/internal/fake/fakefiles"
	"vmtb/internal/fake/fakehost"
)

func TestEnvironment(t *testing.T) {
	h := fakefiles.TwoVFs(t, fakehost.BMG())
	h.Texts["/proc/cmdline"] = "intel_iommu=on quiet\n"
	h.Texts["/gt0/uc/guc_info"] = "GuC firmware: xe/bmg_guc_70.bin\n\tstatus: RUNNING\n\tfound " +
		"70.44.1\n\nsubmission: x\n"
	h.Texts["/sys/module/xe/srcversion"] = "A1B2\n"
	h.Texts["/sys/module/xe/taint"] = "OE\n"
	h.Texts["/proc/sys/kernel/osrelease"] = "7.3.4+deb13-amd64\n"
	h.Texts["/boot/config-7.3.4+deb13-amd64"] = "CONFIG_64BIT=y\nCONFIG_KASAN=y\n"
	h.Texts["/sys/module/xe_vfio_pci/srcversion"] = "C3\n"
	h.Texts["/proc/cpuinfo"] = "processor\t: 0\nmicrocode\t: 0x11\n\nprocessor\t: 1\nmicrocode\t: 0x11\n"
	h.Texts["/proc/sys/kernel/version"] = "#1 SMP PREEMPT_DYNAMIC Debian 7.3.4-1~bpo13+1 (2026-11-20)\n"
	config := bench.Config{
		Host: bench.HostConfig{Driver: "xe"}, Guest: bench.GuestConfig{Kernel: "7.2"},
		VM: bench.VMConfig{Boot: &bench.GuestBoot{Release: "7.2.13+deb14-amd64", Cmdline: "rw x=1"}},
	}
	facts := environment(t.Context(), host.New(h), &config)
	value := func(name string) string {
		i := slices.IndexFunc(facts, func(f flow.Fact) bool { return f.Name == name })
		if i < 0 {
			return ""
		}
		return facts[i].Value
	}
	for name, want := range map[string]string{
		"kernel command line": "intel_iommu=on quiet", "guc": "GuC firmware: xe/bmg_guc_70.bin, found 70.44.1",
		"guest image": "", "guest boot kernel": "7.2.13+deb14-amd64 of 7.2", "guest boot command line": "rw x=1",
		"kernel": "7.3.4+deb13-amd64", "microcode": "0x11", "kernel debug options": "KASAN",
		"kernel version": "#1 SMP PREEMPT_DYNAMIC Debian 7.3.4-1~bpo13+1 (2026-11-20)",
		"xe srcversion":  "A1B2", "xe_vfio_pci srcversion": "C3", "xe build id": "",
		"driver": "xe, not that of the kernel package, on Linux 7.3.4+deb13-amd64 (Debian 7.3.4-1~bpo13+1), " +
			"srcversion A1B2, taints the kernel: OE",
	} {
		if got := value(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	h.Texts["/sys/module/xe/taint"] = "\n"
	const want = "xe of Linux 7.3.4+deb13-amd64 (Debian 7.3.4-1~bpo13+1), srcversion A1B2"
	if facts := environment(
		t.Context(), host.New(h), &config,
	); !slices.Contains(facts, flow.Fact{Name: "driver", Value: want}) {
		t.Errorf("%v: want the driver %q", facts, want)
	}
	if !strings.HasPrefix(value("uname"), "Linux ") || !strings.Contains(value("pf"), " 0000:03:00.0 (8086:") ||
		!strings.HasSuffix(value("pf"), " VFs") {
		t.Errorf("%v", facts)
	}
}
