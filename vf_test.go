package vmtb

import (
	"flag"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/internal/fake/fakehost"
)

var updateVF = flag.Bool("update-vf", false, "write the golden files of vf list anew")

// told is a fake host whose GPU has told a few things.
type told struct {
	*fakehost.Host
	texts map[string]string // by the end of the path
}

func (h told) ReadFile(p string) ([]byte, error) {
	for end, text := range h.texts {
		if strings.HasSuffix(p, end) {
			return []byte(text), nil
		}
	}
	return h.Host.ReadFile(p)
}

func twoVFs(t *testing.T, o fakehost.Options) told {
	t.Helper()
	o.Loaded = []string{"xe", "xe_vfio_pci"}
	h := fakehost.New(o)
	pf := "/sys/bus/pci/devices/0000:03:00.0"
	for _, w := range [][2]string{{"/sriov_drivers_autoprobe", "0"}, {"/sriov_numvfs", "2"}, {"/virtfn1/driver_override", "xe-vfio-pci"}} {
		if err := h.WriteFile(pf+w[0], []byte(w[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.WriteFile("/sys/bus/pci/drivers_probe", []byte("0000:03:00.2")); err != nil {
		t.Fatal(err)
	}
	return told{h, map[string]string{
		"/pf/vfs": "total: 24\nsupported: 6\nenabled: 2\n", "/pf/versions": "base:\t1.0\nlatest:\t1.0\nVF2:\t1.0\n",
		"/sriov_info":         "supported: yes\nenabled: yes\nmode: SR-IOV PF\n",
		"/gt0/adverse_events": "VF1:\tpage_fault_count:1 cat_error_count:2 \n", "/gt1/adverse_events": "VF1:\tpage_fault_count:3 \n",
	}}
}

// startQEMU starts what looks like a QEMU that has a file open.
func startQEMU(t *testing.T, h *fakehost.Host, open string, args ...string) undo.Process {
	t.Helper()
	p := undo.Process{PID: 4711, StartTime: 5, Comm: "qemu-system-x86"}
	h.Start(p, open)
	if err := h.Create("/proc/4711/cmdline", []byte("qemu-system-x86_64\x00"+strings.Join(args, "\x00")+"\x00")); err != nil {
		t.Fatal(err)
	}
	return p
}

// withoutDebugfs is a host on which it is not mounted.
type withoutDebugfs struct{ told }

func (h withoutDebugfs) ReadFile(p string) ([]byte, error) {
	if strings.HasPrefix(p, "/sys/kernel/debug") {
		return nil, fs.ErrNotExist
	}
	return h.told.ReadFile(p)
}

func (h withoutDebugfs) Stat(p string) (fs.FileInfo, error) {
	if strings.HasPrefix(p, "/sys/kernel/debug") {
		return nil, fs.ErrNotExist
	}
	return h.told.Stat(p)
}

func TestVFList(t *testing.T) {
	bmg := twoVFs(t, fakehost.BMG())
	disagree := twoVFs(t, fakehost.BMG())
	if err := disagree.WriteFile("/sys/kernel/debug/dri/1/sriov/vf1/tile0/gt1/exec_quantum_ms", []byte("5")); err != nil {
		t.Fatal(err)
	}
	one, nine := 1, 9
	startQEMU(t, bmg.Host, "/dev/vfio/12", "-name", "guest=vm0,debug-threads=on", "-device", "vfio-pci,host=0000:03:00.2")
	var out strings.Builder
	show := func(name string, run func() error) {
		out.WriteString("== " + name + "\n")
		if err := run(); err != nil {
			t.Error(err)
		}
	}
	show("BMG", func() error { return runVFList(bmg, vfListOptions{host: bench.HostConfig{CardIndex: &one}}, &out) })
	show("without debugfs", func() error { return runVFList(withoutDebugfs{bmg}, vfListOptions{}, &out) })
	show("GTs disagree", func() error { return runVFList(disagree, vfListOptions{}, &out) })
	adminOnly := twoVFs(t, fakehost.BMG())
	adminOnly.texts["/sriov/admin_only_pf"] = "yes\n"
	show("admin only", func() error { return runVFList(adminOnly, vfListOptions{}, &out) })
	show("json", func() error { return runVFList(bmg, vfListOptions{asJSON: true}, &out) })
	const file = "testdata/vf-list.golden"
	if *updateVF {
		if err := os.WriteFile(file, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := runVFList(bmg, vfListOptions{host: bench.HostConfig{CardIndex: &nine}}, &out); err == nil || !strings.Contains(err.Error(), "card9 is not") {
		t.Errorf("runVFShow: %v", err)
	}
}
