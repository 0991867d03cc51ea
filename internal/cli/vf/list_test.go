package vf

import (
	"flag"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/internal/cli/env"
	"vmtb/internal/fake/fakefiles"
	"vmtb/internal/fake/fakehost"
)

var updateVF = flag.Bool("update-vf", false, "write the golden files of vf list anew")

// A withoutDebugfs is a host on which debugfs is not mounted.
type withoutDebugfs struct{ fakefiles.Host }

func (h withoutDebugfs) ReadFile(p string) ([]byte, error) {
	if strings.HasPrefix(p, "/sys/kernel/debug") {
		return nil, fs.ErrNotExist
	}
	return h.Host.ReadFile(p)
}

func (h withoutDebugfs) Stat(p string) (fs.FileInfo, error) {
	if strings.HasPrefix(p, "/sys/kernel/debug") {
		return nil, fs.ErrNotExist
	}
	return h.Host.Stat(p)
}

func TestVFList(t *testing.T) {
	bmg := fakefiles.TwoVFs(t, fakehost.BMG())
	disagree := fakefiles.TwoVFs(t, fakehost.BMG())
	if err := disagree.WriteFile(
		"/sys/kernel/debug/dri/1/sriov/vf1/tile0/gt1/exec_quantum_ms", []byte("5"),
	); err != nil {
		t.Fatal(err)
	}
	one, nine := 1, 9
	fakefiles.StartQEMU(
		t, bmg.Host, "/dev/vfio/12", "-name", "guest=vm0,debug-threads=on", "-device", "vfio-pci,host=0000:03:00.2",
	)
	var out strings.Builder
	list := func(sys host.System, o listOptions) error { return o.run(&env.Env{Out: &out, System: sys}) }
	show := func(name string, run func() error) {
		out.WriteString("== " + name + "\n")
		if err := run(); err != nil {
			t.Error(err)
		}
	}
	show("BMG", func() error { return list(bmg, listOptions{host: bench.HostConfig{CardIndex: &one}}) })
	show("without debugfs", func() error { return list(withoutDebugfs{bmg}, listOptions{}) })
	show("GTs disagree", func() error { return list(disagree, listOptions{}) })
	adminOnly := fakefiles.TwoVFs(t, fakehost.BMG())
	adminOnly.Texts["/sriov/admin_only_pf"] = "yes\n"
	show("admin only", func() error { return list(adminOnly, listOptions{}) })
	show("json", func() error { return list(bmg, listOptions{asJSON: true}) })
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
	if err := list(bmg, listOptions{host: bench.HostConfig{CardIndex: &nine}}); err == nil ||
		!strings.Contains(err.Error(), "card9 is not") {
		t.Errorf("runVFShow: %v", err)
	}
}
