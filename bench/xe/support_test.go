package xe_test

import (
	"errors"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/fake/fakehost"
)

// TestWhyNoVFs: each cause that prevents VFs has its own message.
func TestWhyNoVFs(t *testing.T) {
	const (
		configfs = "/sys/kernel/config/xe/0000:03:00.0/sriov/max_vfs"
		info     = "/sys/kernel/debug/dri/0000:03:00.0/sriov_info"
	)
	for _, c := range []struct {
		name  string
		files map[string]string
		says  string
	}{
		{"configfs", map[string]string{configfs: "0\n"}, configfs + " is 0: unbind the driver"},
		{
			"Linux 6.12",
			map[string]string{
				info: "supported: no\nenabled: no\nmode: none\n", "/proc/sys/kernel/osrelease": "6.12.117-amd64\n",
			},
			"the xe driver of this kernel (6.12.117-amd64) has no SR-IOV for this GPU: Linux 6.17",
		},
		{
			"parameter",
			map[string]string{
				info: "supported: yes\nenabled: no\nmode: none\n", "/sys/module/xe/parameters/max_vfs": "0\n",
			},
			"the parameter xe.max_vfs is 0",
		},
		{
			"firmware",
			map[string]string{info: "supported: yes\nenabled: no\nmode: none\n", configfs: "unlimited\n"},
			"must be enabled in the firmware's set-up",
		},
	} {
		o := fakehost.BMG()
		o.TotalVFs = 0
		s := newSetup(t, o)
		_, err := xe.FindPF(host.New(overlay{s.Host, c.files}).Tree(s.log), xe.Selector{})
		if !errors.Is(err, bench.ErrNotAvailable) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestAdminOnly: configfs tells whether a PF only administers VFs.
func TestAdminOnly(t *testing.T) {
	const file = "/sys/kernel/config/xe/0000:03:00.0/sriov/admin_only_pf"
	for text, want := range map[string]bool{"yes\n": true, "no\n": false, "": false} {
		files := map[string]string{file: text}
		if text == "" {
			files = nil
		}
		s := newSetup(t, fakehost.BMG())
		if got := s.findOn(t, overlay{s.Host, files}).AdminOnly(); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestDriverOfSelector: the selector's driver decides which GPUs are found (host.driver in the
// configuration).
func TestDriverOfSelector(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	tree := host.New(s.Host).Tree(s.log)
	if _, err := xe.FindPF(tree, xe.Selector{Driver: "xe"}); err != nil {
		t.Error(err)
	}
	_, err := xe.FindPF(tree, xe.Selector{Driver: "i915"})
	if err == nil || !strings.Contains(err.Error(), "/sys/bus/pci/drivers/i915") ||
		!strings.Contains(err.Error(), "modprobe i915") {
		t.Errorf("another driver: %v", err)
	}
}

// TestLargePages: GGTT quotas of ATS-M are rounded up to 64 KiB.
func TestLargePages(t *testing.T) {
	o := fakehost.BMG()
	o.Device = 0x56c0
	s := newSetup(t, o)
	pf := s.find(t)
	if err := pf.Quotas.Set(t.Context(), 1, vgpu.Resources{
		GGTT: 1<<20 + 1, VRAM: 1 << 21, Contexts: 1, Doorbells: 1,
	}); err != nil {
		t.Fatal(err)
	}
	if q, err := pf.Quotas.Of(1); err != nil || q.GGTT != 1<<20+64<<10 {
		t.Errorf("%+v, %v", q, err)
	}
}
