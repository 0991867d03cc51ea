package xe_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/fake/fakehost"
)

func TestFindPF(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	s.write(t, pfDir+"/sriov_numvfs", "2") // the host's xe binds the VFs, and makes a card for each
	tree := host.New(s.Host).Tree(s.log)
	for _, want := range []xe.Selector{{}, xe.Card(1), {Address: "0000:03:00.0"}} {
		pf, err := xe.FindPF(tree, want)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(pf.Address, " card", pf.Card, " ", pf.GTs, pf.VRAM)
		if got != "0000:03:00.0 card1 [tile0/gt0 (main) tile0/gt1 (media)] true" {
			t.Errorf("FindPF: %s", got)
		}
	}
	for _, want := range []xe.Selector{xe.Card(2), {Address: "0000:03:00.1"}} { // both name a VF
		var ue *bench.UsageError
		if _, err := xe.FindPF(tree, want); !errors.As(err, &ue) ||
			!strings.Contains(err.Error(), "GPUs of the xe driver: card1 (0000:03:00.0)") {
			t.Errorf("FindPF(%v): %v", want, err)
		}
	}
}

func TestFindNone(t *testing.T) {
	for _, c := range []struct {
		name    string
		options func(*fakehost.Options)
		want    xe.Selector
		says    string
	}{
		{
			"driver not loaded", func(o *fakehost.Options) { o.Loaded = []string{"vfio_pci"} },
			xe.Selector{},
			"the xe driver is not loaded: modprobe xe",
		},
		{"no SR-IOV", func(o *fakehost.Options) { o.TotalVFs = 0 }, xe.Selector{}, "the GPU offers no VFs"},
		{"no SR-IOV on the card", func(o *fakehost.Options) { o.TotalVFs = 0 }, xe.Card(1), "use as a PF card1 " +
			"(0000:03:00.0): the GPU offers no VFs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := fakehost.BMG()
			o.Loaded = []string{"xe"}
			c.options(&o)
			s := newSetup(t, o)
			if _, err := xe.FindPF(host.New(s.Host).Tree(s.log), c.want); err == nil ||
				!strings.Contains(err.Error(), c.says) {
				t.Errorf("FindPF: %v", err)
			}
		})
	}
	s := newSetup(t, fakehost.BMG())
	s.write(t, pfDir+"/driver/unbind", "0000:03:00.0")
	if _, err := xe.FindPF(host.New(s.Host).Tree(s.log), xe.Selector{}); err == nil ||
		!strings.Contains(err.Error(), "has initialised no GPU") {
		t.Errorf("FindPF: %v", err)
	}
}

// A twoGPUs is a host with a second GPU of the xe driver.
type twoGPUs struct{ *fakehost.Host }

func (g twoGPUs) ReadDir(p string) ([]fs.DirEntry, error) {
	list, err := g.Host.ReadDir(p)
	if p != "/sys/bus/pci/drivers/xe" {
		return list, err
	}
	vf, err := g.Stat("/sys/bus/pci/devices/0000:03:00.1") // it looks like another PF without its physfn
	return append(list, fs.FileInfoToDirEntry(vf)), err
}

func (g twoGPUs) Stat(p string) (fs.FileInfo, error) {
	return g.Host.Stat(strings.Replace(p, ".1/physfn", "/none", 1))
}

func (g twoGPUs) ReadFile(p string) ([]byte, error) {
	return g.Host.ReadFile(strings.Replace(p, "03:00.1/sriov", "03:00.0/sriov", 1))
}

func TestFindSeveral(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	s.write(t, pfDir+"/sriov_numvfs", "1")
	tree := host.New(twoGPUs{s.Host}).Tree(s.log)
	_, err := xe.FindPF(tree, xe.Selector{})
	if err == nil || !strings.Contains(err.Error(), "choose one by its card number (GPUs of the xe driver: card1 "+
		"(0000:03:00.0), card2 (0000:03:00.1)") {
		t.Errorf("FindPF: %v", err)
	}
	if pf, err := xe.FindPF(tree, xe.Card(1)); err != nil || pf.Address != "0000:03:00.0" {
		t.Errorf("FindPF: %v, %v", pf, err)
	}
}

// A noDebugfs is a host on which debugfs is not mounted.
type noDebugfs struct{ *fakehost.Host }

func (n noDebugfs) ReadFile(p string) ([]byte, error) {
	if strings.HasPrefix(p, "/sys/kernel/debug") {
		return nil, syscall.ENOENT
	}
	return n.Host.ReadFile(p)
}

func (n noDebugfs) Stat(p string) (fs.FileInfo, error) {
	if strings.HasPrefix(p, "/sys/kernel/debug") {
		return nil, syscall.ENOENT
	}
	return n.Host.Stat(p)
}

func TestWithoutDebugfs(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	pf, err := xe.FindPF(host.New(noDebugfs{s.Host}).Tree(s.log), xe.Selector{})
	if err != nil {
		t.Fatal(err)
	}
	quota := vgpu.Plan{VFs: 1, Quota: &vgpu.Resources{GGTT: 1 << 20, Contexts: 1}}
	if err := pf.Provision(t.Context(), quota); !errors.Is(err, bench.ErrNotAvailable) ||
		!strings.Contains(err.Error(), "debugfs is not mounted") {
		t.Errorf("Provision with quotas: %v", err)
	}
	if err := pf.Provision(t.Context(), vgpu.Auto(2)); err != nil {
		t.Errorf("Provision automatically: %v", err)
	}
	if vfs, err := pf.EnableVFs(t.Context(), 2); err != nil || len(vfs) != 2 {
		t.Errorf("EnableVFs: %v, %v", vfs, err)
	}
}
