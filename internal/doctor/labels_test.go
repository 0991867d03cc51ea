package doctor

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/internal/fake/fakehost"
	"vmtb/internal/labels"
)

// targetOn returns a machine for the checks that labels use.
func targetOn(h answers) *Target {
	p := New(h, Options{Config: bench.DefaultConfig()})
	p.accel = func(context.Context) (vm.Accel, error) { return vm.Accel{Name: "kvm"}, nil }
	return p
}

func TestLabels(t *testing.T) {
	h := sound(fakehost.BMG())
	pf := "/sys/kernel/debug/dri/0000:03:00.0"
	for name, text := range map[string]string{
		"/proc/sys/kernel/osrelease": "7.0.0-rc3\n", "/proc/meminfo": "MemTotal:       65011712 kB\nMemFree: 1 kB\n",
		pf + "/gt0/uc/guc_info": "GuC firmware: xe/bmg_guc_70.bin\n\tfound 70.44.1\n",
	} {
		h.files[name] = text
	}
	p := targetOn(h)
	got := p.Labels(t.Context(), "7")
	for _, name := range []string{"arch", "cpus"} { // these are of the machine that runs the test
		if got[name] == "" {
			t.Errorf("no %s", name)
		}
		delete(got, name)
	}
	want := labels.Set{
		"driver": "xe", "gpu": "bmg", "gts": "2", "guc": "70.44.1", "iommu": got["iommu"], "kernel": "7.0.0-rc3",
		"kvm": "yes", "lab": "no",
		"migration": "yes", "pci": "8086:e20b", "qemu": "10.0", "ram": "62G", "sysfs": got["sysfs"],
		"variant": "xe-vfio-pci",
		"vfs":     "6", "vmtb": "7", "vram": "yes",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLabelsWithoutGPU(t *testing.T) {
	h := sound(fakehost.Options{})
	if got := targetOn(h).Labels(t.Context(), "7"); got["vfs"] != "0" || got["gpu"] != "" || got["driver"] != "" {
		t.Errorf("%v", got)
	}
}

func TestLabelTexts(t *testing.T) {
	for text, want := range map[string]string{"MemTotal: 16777216 kB\n": "16G", "": "", "MemTotal: x kB": ""} {
		if got := memory(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"x\n\tfound 70.44.1\ny": "70.44.1", "found": "", "": ""} {
		if got := foundVersion(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
