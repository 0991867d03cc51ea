//go:build integration

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// testFile returns the path of a file that make test builds.
func testFile(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s is not set: make test sets it to what package lab builds", variable)
	}
	return path
}

// guestSpec returns the tiny guest of the tests, booted from its kernel.
func guestSpec(t *testing.T) Spec {
	t.Helper()
	return Spec{Name: "vm0", MemoryMiB: 256, Kernel: &Kernel{
		Image: testFile(t, "VMTB_TEST_KERNEL"), Initrd: testFile(t, "VMTB_TEST_INITRD"),
		Cmdline: "console=ttyS0 panic=-1 cryptomgr.notests mitigations=off",
	}}
}

// A place is the set of directories for a test's machines. It checks for leftovers.
type place struct{ Options }

func newPlace(t *testing.T) place {
	t.Helper()
	base, err := os.MkdirTemp("", "vm") // short: it contains sockets
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(base)) })
	p := place{
		Options{
			Dir: filepath.Join(base, "logs"), WorkDir: filepath.Join(base, "work"),
			SocketDir: filepath.Join(base, "run"),
		},
	}
	must(t, os.Mkdir(p.WorkDir, 0o755))
	return p
}

// clean fails the test if anything except logs is left.
func (p place) clean(t *testing.T) {
	t.Helper()
	for _, dir := range []string{p.WorkDir, p.SocketDir} {
		if left, err := os.ReadDir(dir); len(left) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
}

// run starts a machine. When the test ends, the machine must be gone without leftovers.
func (p place) run(t *testing.T, s Spec) *VM {
	t.Helper()
	m, err := Start(t.Context(), s, p.Options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		gone(t, m.PID())
		p.clean(t)
	})
	return m
}

// boot starts a machine and waits until it is ready.
func (p place) boot(t *testing.T, s Spec) *VM {
	t.Helper()
	m := p.run(t, s)
	begin := time.Now()
	if err := m.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: ready %v after its start, %+v", m, time.Since(begin).Round(time.Millisecond), m.Accel())
	return m
}

// sh runs a shell line in the guest. It must succeed.
func sh(t *testing.T, m *VM, line string) {
	t.Helper()
	r, err := m.Exec(t.Context(), bench.Shell(line))
	if err == nil {
		err = r.Err(bench.Shell(line))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestIntegrationMachine(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	m := p.boot(t, guestSpec(t))
	ctx := t.Context()
	if s, err := m.State(ctx); s != Running || err != nil {
		t.Errorf("state = %v, %v", s, err)
	}

	t.Run("exec", func(t *testing.T) {
		r, err := m.Exec(ctx, bench.Command{
			Argv: []string{"/bin/sh", "-c", `cat; echo "$X $PWD" >&2; exit 3`}, Stdin: []byte("in\x00\xff"),
			Env: []string{"X=a b"}, Dir: "/proc",
		})
		want := bench.Result{ExitCode: 3, Stdout: []byte("in\x00\xff"), Stderr: []byte("a b /proc\n")}
		if diff := cmp.Diff(want, r); diff != "" || err != nil {
			t.Errorf("%v, -want +got\n%s", err, diff)
		}
		if r, err := m.Exec(ctx, bench.Shell("kill -9 $$")); r.Signal != 9 || err != nil {
			t.Errorf("killed command: %+v, %v", r, err)
		}
		if _, err := m.Exec(ctx, bench.Command{Argv: []string{"/no/such/program"}}); !errors.As(
			err, new(*bench.GuestError),
		) {
			t.Errorf("missing program: %v, want a GuestError", err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := m.Exec(short, bench.Shell("sleep 300")); !errors.Is(err, context.DeadlineExceeded) ||
			errors.As(err, new(*bench.GuestError)) {
			t.Errorf("command out of time: %v, want the deadline and no GuestError", err)
		}
	})

	t.Run("files", func(t *testing.T) {
		data := bytes.Repeat([]byte("\x00\xff\nvmtb"), 50_000)
		must(t, m.WriteFile(ctx, "/tmp/file", data))
		must(t, m.WriteFile(ctx, "/tmp/short", []byte("x")))
		must(t, m.WriteFile(ctx, "/tmp/file", data[:len(data)-1]))
		got, err := m.ReadFile(ctx, "/tmp/file")
		if err != nil || !bytes.Equal(got, data[:len(data)-1]) {
			t.Errorf("read %d bytes of %d, %v", len(got), len(data)-1, err)
		}
		for _, err := range []error{
			second(m.ReadFile(ctx, "/tmp/none")), m.WriteFile(ctx, "/none/file", nil),
			second(m.ReadDir(ctx, "/tmp/none")),
		} {
			if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, new(*bench.GuestError)) {
				t.Errorf("missing: %v, want a GuestError that is fs.ErrNotExist", err)
			}
		}
	})

	t.Run("directory", func(t *testing.T) {
		sh(t, m, `mkdir /tmp/d /tmp/d/sub && cd /tmp/d && echo x >'two words' && echo x >'line
break' && echo x >-n && echo x >.hidden && ln -s nowhere link && mkfifo pipe && mknod null c 1 3`)
		got, err := m.ReadDir(ctx, "/tmp/d")
		want := []bench.DirEntry{
			{Name: "-n"},
			{Name: ".hidden"},
			{Name: "line\nbreak"},
			{Name: "link", Mode: fs.ModeSymlink},
			{Name: "null", Mode: fs.ModeDevice | fs.ModeCharDevice},
			{Name: "pipe", Mode: fs.ModeNamedPipe},
			{Name: "sub", Mode: fs.ModeDir},
			{Name: "two words"},
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v, -want +got\n%s", err, diff)
		}
		if got, err := m.ReadDir(ctx, "/tmp/d/sub"); len(got) > 0 || err != nil {
			t.Errorf("empty directory: %v, %v", got, err)
		}
		if _, err := m.ReadDir(ctx, "/tmp/d/-n"); !strings.Contains(fmt.Sprint(err), "not a directory") {
			t.Errorf("directory that is a file: %v", err)
		}
	})

	t.Run("monitor for people", func(t *testing.T) {
		c, err := qmp.Dial(ctx, m.Socket(PeopleSocket), qmp.Options{})
		must(t, err)
		defer c.Close()
		must(t, c.Execute(ctx, "query-status", nil, nil))
	})

	info, err := os.Stat(filepath.Dir(m.Socket(PeopleSocket)))
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the private directory: %v", info.Mode())
	}
	step, err := m.Power().Off(ctx)
	if step != StepAgent || err != nil {
		t.Errorf("power off = %q, %v, want %q", step, err, StepAgent)
	}
	if step, err := m.Power().Off(ctx); step != StepNone || err != nil {
		t.Errorf("second power off = %q, %v", step, err)
	}
	if _, err := m.Exec(ctx, bench.Shell("true")); !errors.Is(err, ErrOff) {
		t.Errorf("exec when off: %v, want ErrOff", err)
	}
	if s, err := m.State(ctx); s != Off || err != nil {
		t.Errorf("state when off = %v, %v", s, err)
	}
	for name, want := range map[string]string{
		"argv": "qemu-system-x86_64 -name guest=vm0 ", "console.log": "Linux version", "qmp.jsonl": "qmp_capabilities",
		"qga.jsonl": "guest-sync", "stderr.log": "",
	} {
		data, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: %v, want %q in it", name, err, want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestIntegrationDisk(t *testing.T) {
	t.Parallel()
	image := testFile(t, "VMTB_TEST_IMAGE")
	before, err := os.Stat(image)
	must(t, err)
	for name, s := range map[string]Spec{
		"q35, virtio": {Name: "vm0", MemoryMiB: 256, Disks: []Disk{{Image: image}}},
		"pc, IDE":     {Name: "vm0", MemoryMiB: 256, Machine: "pc", Disks: []Disk{{Image: image, Bus: "ide"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			m := p.boot(t, s)
			if s.Disks[0].Bus == "" { // write to the disk: the data go to the overlay
				sh(t, m, "for i in $(seq 64); do cat /bin/busybox; done | head -c 8388608 >/root/fill && sync")
			}
			if len(names(t, p.WorkDir)) != 1 {
				t.Errorf("in the work directory: %q, want the overlay's", names(t, p.WorkDir))
			}
			if _, err := m.Power().Off(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	after, err := os.Stat(image)
	must(t, err)
	if before.ModTime() != after.ModTime() {
		t.Error("the image was written to")
	}
}

func TestIntegrationSeveralAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			s, o := guestSpec(t), p.Options
			s.Name, o.Dir = fmt.Sprintf("vm%d", i), filepath.Join(p.Dir, fmt.Sprint(i))
			m, err := Start(t.Context(), s, o)
			if err != nil {
				t.Error(err)
				return
			}
			defer m.Close(context.Background())
			if err := m.WaitReady(t.Context()); err != nil {
				t.Error(err)
			} else if _, err := m.Power().Off(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	p.clean(t)
}

// QEMU accepts every kind of argument. The guest need not boot for that.
func TestIntegrationEveryArgument(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	image := filepath.Join(t.TempDir(), "a,b.img")
	must(t, os.WriteFile(image, make([]byte, 1<<20), 0o600))
	s := guestSpec(t)
	s.CPUs, s.Serials, s.SparePorts, s.UserNetwork, s.VNC, s.NoReboot = 2, 3, 2, true, VNC{Mode: VNCLocal}, true
	s.Disks = []Disk{{Image: image}, {Image: image, Bus: "ide", Format: "raw"}, {Image: image, Access: ReadOnly}}
	s.Shares = []Share{{Tag: "in", Path: t.TempDir()}, {Tag: "out", Path: t.TempDir(), Writable: true}}
	s.Devices, s.Extra = []string{"intel-iommu"}, []string{"-device", "virtio-rng-pci"}
	m := p.run(t, s)
	var nodes []struct {
		Name string `json:"node-name"`
	}
	must(t, m.QMP().Execute(t.Context(), "query-named-block-nodes", map[string]any{"flat": true}, &nodes))
	all := fmt.Sprint(nodes)
	for _, name := range []string{"disk0", "disk1", "disk2"} {
		if !strings.Contains(all, "{"+name+"}") {
			t.Errorf("no block node %s in %s", name, all)
		}
	}

	must(t, os.Remove(image))
	must(t, os.WriteFile(image, make([]byte, 1<<20), 0o600))
	s = guestSpec(t)
	s.Machine, s.Disks = "pc", []Disk{{Image: image, Access: Direct}}
	newPlace(t).run(t, s)
}
