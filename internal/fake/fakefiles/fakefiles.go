package fakefiles

import (
	"strings"
	"testing"

	"vmtb/bench/undo"
	"vmtb/internal/fake/fakehost"
)

// A Host is a fake host with additional texts. A file whose path ends with a key of Texts has that
// value.
type Host struct {
	*fakehost.Host
	Texts map[string]string
}

// ReadFile returns a value of Texts, or a file of the fake host.
func (h Host) ReadFile(p string) ([]byte, error) {
	for end, text := range h.Texts {
		if strings.HasSuffix(p, end) {
			return []byte(text), nil
		}
	}
	return h.Host.ReadFile(p)
}

// TwoVFs returns a host with two enabled VFs. The second VF has the driver xe-vfio-pci, and VF1 has
// had adverse events.
func TwoVFs(t *testing.T, o fakehost.Options) Host {
	t.Helper()
	o.Loaded = []string{"xe", "xe_vfio_pci"}
	h := fakehost.New(o)
	pf := "/sys/bus/pci/devices/0000:03:00.0"
	for _, w := range [][2]string{
		{"/sriov_drivers_autoprobe", "0"}, {"/sriov_numvfs", "2"}, {"/virtfn1/driver_override", "xe-vfio-pci"},
	} {
		if err := h.WriteFile(pf+w[0], []byte(w[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.WriteFile("/sys/bus/pci/drivers_probe", []byte("0000:03:00.2")); err != nil {
		t.Fatal(err)
	}
	return Host{h, map[string]string{
		"/pf/vfs": "total: 24\nsupported: 6\nenabled: 2\n", "/pf/versions": "base:\t1.0\nlatest:\t1.0\nVF2:\t1.0\n",
		"/sriov_info":         "supported: yes\nenabled: yes\nmode: SR-IOV PF\n",
		"/gt0/adverse_events": "VF1:\tpage_fault_count:1 cat_error_count:2 \n",
		"/gt1/adverse_events": "VF1:\tpage_fault_count:3 \n",
	}}
}

// StartQEMU starts a fake process that looks like a QEMU with an open file.
func StartQEMU(t *testing.T, h *fakehost.Host, open string, args ...string) undo.Process {
	t.Helper()
	p := undo.Process{PID: 4711, StartTime: 5, Comm: "qemu-system-x86"}
	h.Start(p, open)
	argv := "qemu-system-x86_64\x00" + strings.Join(args, "\x00") + "\x00"
	if err := h.Create("/proc/4711/cmdline", []byte(argv)); err != nil {
		t.Fatal(err)
	}
	return p
}
