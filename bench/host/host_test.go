package host_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/internal/fake/fakehost"
)

func onThis() *host.Host { return host.New(host.OS{}) }

func TestExec(t *testing.T) {
	for _, c := range []struct {
		command bench.Command
		want    bench.Result
	}{
		{
			bench.Shell("echo out; echo err >&2; exit 3"),
			bench.Result{ExitCode: 3, Stdout: []byte("out\n"), Stderr: []byte("err\n")},
		},
		{bench.Shell("kill -9 $$"), bench.Result{Signal: 9}},
		{bench.Command{Argv: []string{"cat"}, Stdin: []byte("a\x00b")}, bench.Result{Stdout: []byte("a\x00b")}},
		{bench.Command{Argv: []string{"cat"}}, bench.Result{}},
		{
			bench.Command{Argv: []string{"sh", "-c", "pwd; echo $X"}, Dir: "/proc", Env: []string{"X=y"}},
			bench.Result{Stdout: []byte("/proc\ny\n")},
		},
	} {
		got, err := onThis().Exec(t.Context(), c.command)
		if err != nil {
			t.Fatal(err)
		}
		same := cmp.Comparer(bytes.Equal) // nil equals an empty slice
		if diff := cmp.Diff(c.want, got, same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.command, diff)
		}
	}
}

func TestExecNotStarted(t *testing.T) {
	var he *bench.HostError
	if _, err := onThis().Exec(t.Context(), bench.Command{Argv: []string{"/no/such/program"}}); !errors.As(err, &he) ||
		!errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing program: %v", err)
	}
	var ue *bench.UsageError
	if _, err := onThis().Exec(t.Context(), bench.Command{}); !errors.As(err, &ue) {
		t.Errorf("empty command: %v", err)
	}
}

// TestExecTimeout: the process group gets a polite and then a final signal, and no grandchild
// survives.
func TestExecTimeout(t *testing.T) {
	dir := t.TempDir()
	script := "trap 'echo polite; touch " + dir + "/polite' TERM; sleep 60 & echo $! > " + dir + "/pid; touch " + dir +
		"/ready; while :; do wait; done"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for {
			if _, err := os.Stat(dir + "/ready"); err == nil {
				cancel()
				return
			}
			time.Sleep(time.Millisecond) // a test's own polling
		}
	}()
	c := bench.Shell(script)
	c.Grace = 3 * time.Second // on a busy machine, too, a shell reaches its trap in this time
	start := time.Now()
	r, err := onThis().Exec(ctx, c)
	if !errors.Is(err, context.Canceled) || r.Signal != 9 || string(r.Stdout) != "polite\n" {
		t.Errorf("Exec: %+v, %v", r, err)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("it took %s", d)
	}
	pid, err := os.ReadFile(dir + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("the grandchild lives: %s", stat)
	}
}

// TestExecStray: Exec returns although a daemon holds the output pipe.
func TestExecStray(t *testing.T) {
	c := bench.Shell("echo here; sleep 60 & echo $!")
	c.Grace = time.Millisecond
	r, err := onThis().Exec(t.Context(), c)
	if err != nil || r.ExitCode != 0 || !r.StdoutTruncated || !strings.HasPrefix(string(r.Stdout), "here\n") {
		t.Fatalf("Exec: %+v, %v", r, err)
	}
	kill := bench.Command{Argv: []string{"kill", strings.Fields(string(r.Stdout))[1]}}
	if r, err := onThis().Exec(t.Context(), kill); err != nil || !r.OK() {
		t.Errorf("kill: %+v, %v", r, err)
	}
}

func TestFiles(t *testing.T) {
	ctx, h, file := t.Context(), onThis(), filepath.Join(t.TempDir(), "f")
	if _, err := h.ReadFile(ctx, file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile: %v", err)
	}
	for _, data := range []string{"long\xff\x00", "x"} {
		if err := h.WriteFile(ctx, file, []byte(data)); err != nil {
			t.Fatal(err)
		}
		if b, err := h.ReadFile(ctx, file); err != nil || string(b) != data {
			t.Errorf("ReadFile: %q, %v", b, err)
		}
	}
	if err := os.Symlink("f", file+"-link"); err != nil {
		t.Fatal(err)
	}
	list, err := h.ReadDir(ctx, filepath.Dir(file))
	if diff := cmp.Diff([]bench.DirEntry{{Name: "f"}, {Name: "f-link", Mode: fs.ModeSymlink}}, list); diff != "" ||
		err != nil {
		t.Error(diff, err)
	}
	if _, err := h.ReadDir(ctx, file+"-none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadDir: %v", err)
	}
	if h.String() != "host" {
		t.Error(h)
	}
}

func fake(t *testing.T, o fakehost.Options) (*host.Host, *fakehost.Host, *undo.Log) {
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
	f := fakehost.New(o)
	return host.New(f), f, log
}

func TestLoadDrivers(t *testing.T) {
	vendor := map[string]string{"xe": "", "xe_vfio_pci": "", "vfio_pci": ""}
	plain := map[string]string{"xe": "", "vfio_pci": ""}
	for _, c := range []struct {
		name    string
		modules map[string]string
		loaded  []string
		vfio    string
		fails   string
	}{
		{"vendor's variant", vendor, nil, "xe-vfio-pci", ""},
		{"plain", plain, nil, "vfio-pci", ""},
		{"all loaded", vendor, []string{"xe", "xe_vfio_pci"}, "xe-vfio-pci", ""},
		{
			"no vfio",
			map[string]string{"xe": ""},
			nil, "",
			"xe-vfio-pci or vfio-pci: not available here (this kernel has none of them",
		},
		{"no xe", nil, nil, "", "Module xe not found"},
		{
			"refused",
			map[string]string{"xe": "No such device"},
			nil, "",
			"could not insert 'xe': No such device\nthe kernel said:\n[    2.0] xe: this is",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := fakehost.BMG()
			o.Modules, o.Loaded = c.modules, c.loaded
			h, f, log := fake(t, o)
			first := f.Snapshot()
			vfio, err := h.LoadDrivers(t.Context(), log, "xe")
			if vfio != c.vfio || (err == nil) != (c.fails == "") {
				t.Fatalf("LoadDrivers: %q, %v", vfio, err)
			}
			if err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("LoadDrivers: %v", err)
			}
			if err == nil && !h.ModuleLoaded(vfio) {
				t.Errorf("%s is not loaded", vfio)
			}
			if err := log.Undo(t.Context(), f); err != nil {
				t.Error(err)
			}
			if f.Snapshot() != first {
				t.Error(cmp.Diff(f.FromSnapshot(first).Dump(), f.Dump()))
			}
		})
	}
}

func TestModuleInUse(t *testing.T) {
	h, f, log := fake(t, fakehost.BMG())
	if _, err := h.LoadDrivers(t.Context(), log, "xe"); err != nil {
		t.Fatal(err)
	}
	for _, w := range [][2]string{
		{"sriov_drivers_autoprobe", "0"}, {"sriov_numvfs", "1"}, {"virtfn0/driver_override", "xe-vfio-pci"},
	} {
		if err := f.WriteFile("/sys/bus/pci/devices/0000:03:00.0/"+w[0], []byte(w[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.WriteFile("/sys/bus/pci/drivers_probe", []byte("0000:03:00.1")); err != nil {
		t.Fatal(err)
	}
	err := log.Undo(t.Context(), f) // another process has bound a device to it
	if err != nil || !h.ModuleLoaded("xe-vfio-pci") || len(log.Pending()) != 0 {
		t.Errorf("Undo: %v", err)
	}
}

func TestCheckIOMMU(t *testing.T) {
	for _, c := range []struct {
		none    bool
		cmdline string
		says    string
	}{
		{false, "", ""},
		{true, "quiet", "boot the kernel with intel_iommu=on"},
		{true, "quiet intel_iommu=on", "VT-d is switched off in the firmware"},
	} {
		o := fakehost.BMG()
		o.NoIOMMU, o.Cmdline = c.none, c.cmdline
		h, _, _ := fake(t, o)
		err := h.CheckIOMMU()
		if (err == nil) != (c.says == "") ||
			err != nil && (!errors.Is(err, bench.ErrNotAvailable) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("CheckIOMMU: %v", err)
		}
	}
}
