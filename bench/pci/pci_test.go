package pci_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/sysfs"
	"vmtb/bench/undo"
	"vmtb/internal/fake/fakehost"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]pci.Address{
		"0000:03:00.0": "0000:03:00.0", "3:0.0": "0000:03:00.0", "0000:E1:1F.7": "0000:e1:1f.7",
		"10000:e1:00.0": "10000:e1:00.0", "00010000:01:02.3": "10000:01:02.3", "00000000:01:02.3": "0000:01:02.3",
		"": "", "03:00": "", "03.0": "", "0000:03:20.0": "", "0000:03:00.8": "", "0000:100:00.0": "",
		"100000000:03:00.0": "",
		"0000:03:00.0\n":    "", "0000:-3:00.0": "", "0000:+3:00.0": "", "0:0000:03:00.0": "", "0000:03:0_0.0": "",
		"x:03:00.0": "", ":03:00.0": "",
	} {
		got, err := pci.Parse(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Parse(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestParseRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`([0-9a-fA-F]{1,8}:)?[0-9a-fA-F]{1,2}:[01]?[0-9a-fA-F]\.[0-7]`).Draw(t, "address")
		a, err := pci.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := pci.Parse(strings.ToUpper(string(a)))
		if err != nil || a != b {
			t.Fatalf("%q, then %q, %v", a, b, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("0000:03:00.0")
	f.Add("3:0.0")
	f.Add("10000:e1:1f.7")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := pci.Parse(s)
		if err != nil {
			return
		}
		if b, err := pci.Parse(string(a)); err != nil || a != b {
			t.Errorf("Parse(%q) = %q, and that again is %q, %v", s, a, b, err)
		}
		if string(a) != strings.ToLower(string(a)) || strings.ContainsAny(string(a), "/ ") {
			t.Errorf("%q cannot be a name in sysfs", a)
		}
	})
}

type setup struct {
	*fakehost.Host
	log *undo.Log
	pf  *pci.Device
}

func newSetup(t *testing.T, change func(*fakehost.Options)) setup {
	t.Helper()
	log, err := undo.Open(filepath.Join(t.TempDir(), "undo.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	o := fakehost.BMG()
	o.Loaded = []string{"xe", "xe_vfio_pci", "vfio_pci"}
	if change != nil {
		change(&o)
	}
	h := fakehost.New(o)
	return setup{h, log, pci.At(&sysfs.Tree{FS: h, Log: log}, "0000:03:00.0")}
}

// enable enables VFs and returns them. No driver of the host binds them.
func (s setup) enable(t *testing.T, n int) []*pci.Device {
	t.Helper()
	if err := s.pf.SetAutoprobe(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := s.pf.EnableVFs(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	vfs, err := s.pf.VFs()
	if err != nil {
		t.Fatal(err)
	}
	return vfs
}

func TestLife(t *testing.T) {
	s := newSetup(t, nil)
	first := s.Snapshot()
	vfs := s.enable(t, 3)
	if len(vfs) != 3 || vfs[2].Address != "0000:03:00.3" || !vfs[2].IsVF() || s.pf.IsVF() {
		t.Errorf("VFs: %v", vfs)
	}
	for range 2 { // the second Bind changes nothing
		if err := vfs[0].Bind(t.Context(), "xe-vfio-pci"); err != nil {
			t.Fatal(err)
		}
	}
	if err := vfs[1].Bind(t.Context(), "vfio-pci"); err != nil {
		t.Fatal(err)
	}
	if err := vfs[1].Bind(t.Context(), "xe-vfio-pci"); err != nil { // change the driver
		t.Fatal(err)
	}
	if got := []string{s.pf.Driver(), vfs[0].Driver(), vfs[1].Driver(), vfs[2].Driver()}; !cmp.Equal(got, []string{
		"xe", "xe-vfio-pci", "xe-vfio-pci", "",
	}) {
		t.Errorf("drivers: %q", got)
	}
	if diff := cmp.Diff([]string{"/dev/vfio/11", "/dev/vfio/devices/vfio0"}, vfs[0].VFIONodes()); diff != "" {
		t.Error(diff)
	}
	if err := vfs[0].Reset(t.Context()); err != nil {
		t.Error(err)
	}
	if ids, err := vfs[0].IDs(); err != nil || ids.String() != "8086:e20b" {
		t.Errorf("IDs: %v, %v", ids, err)
	}
	if err := s.pf.EnableVFs(t.Context(), 2); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("EnableVFs with others enabled: %v", err)
	}
	if err := s.log.Undo(t.Context(), s.Host); err != nil {
		t.Fatal(err)
	}
	if s.Snapshot() != first {
		t.Error(cmp.Diff(s.FromSnapshot(first).Dump(), s.Dump()))
	}
}

func TestHolder(t *testing.T) {
	s := newSetup(t, nil)
	vf := s.enable(t, 1)[0]
	if err := vf.Bind(t.Context(), "vfio-pci"); err != nil {
		t.Fatal(err)
	}
	s.Start(undo.Process{PID: 10, Comm: "bash"}, "/dev/null")
	qemu := undo.Process{PID: 4711, StartTime: 5, Comm: "qemu-system-x86"}
	s.Start(qemu, "/dev/kvm", "/dev/vfio/devices/vfio0")
	if diff := cmp.Diff([]pci.Holder{{PID: 4711, Comm: "qemu-system-x86"}}, vf.Holders()); diff != "" {
		t.Error(diff)
	}
	err := s.pf.DisableVFs(t.Context())
	if err == nil || !strings.Contains(err.Error(), "VF 0000:03:00.1 is in use by qemu-system-x86 (pid 4711)") {
		t.Errorf("DisableVFs: %v", err)
	}
	if err := s.Kill(t.Context(), qemu); err != nil {
		t.Fatal(err)
	}
	if err := s.pf.DisableVFs(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.pf.VF(1); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("VF of a PF without VFs: %v", err)
	}
}

func TestBindFails(t *testing.T) {
	for _, c := range []struct {
		name, driver string
		options      func(*fakehost.Options)
		never        bool
		says         string
	}{
		{
			"not loaded", "vfio-pci", func(o *fakehost.Options) { o.Loaded = []string{"xe"} }, false,
			"the driver is not loaded",
		},
		{"probe fails", "xe-vfio-pci", nil, true, "bound driver: not seen within 10 s (dmesg has"},
		{"no IOMMU", "xe-vfio-pci", func(o *fakehost.Options) { o.NoIOMMU = true }, false, "intel_iommu=on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSetup(t, c.options)
			vf := s.enable(t, 1)[0]
			s.NeverBind = c.never
			synctest.Test(t, func(t *testing.T) {
				var he *bench.HostError
				err := vf.Bind(t.Context(), c.driver)
				if !errors.As(err, &he) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("Bind: %v", err)
				}
				if err := s.log.Undo(t.Context(), s.Host); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestSlowVFs: numvfs is 2 and only one VF exists so far.
func TestSlowVFs(t *testing.T) {
	s := newSetup(t, nil)
	s.enable(t, 2)
	late := lateFS{s.Host, "/sys/bus/pci/devices/0000:03:00.0/virtfn1/vendor"}
	pf := pci.At(&sysfs.Tree{FS: late, Log: s.log}, "0000:03:00.0")
	synctest.Test(t, func(t *testing.T) {
		err := pf.EnableVFs(t.Context(), 2)
		if err == nil ||
			!strings.Contains(
				err.Error(),
				"enable 2 VFs of 0000:03:00.0: only 1 of them appeared: all VFs in sysfs: not seen within 12 s",
			) {
			t.Errorf("EnableVFs: %v", err)
		}
	})
}

// A lateFS hides one file.
type lateFS struct {
	*fakehost.Host
	hidden string
}

func (l lateFS) Stat(p string) (fs.FileInfo, error) {
	if p == l.hidden {
		return nil, syscall.ENOENT
	}
	return l.Host.Stat(p)
}
