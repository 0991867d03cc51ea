package vm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/undo"
)

func TestPrivateDir(t *testing.T) {
	base := t.TempDir()
	var journal []undo.Record
	dir, err := privateDir(base, "vmtb-", func(r undo.Record) error {
		if p := r.(undo.Path).Path; exists(p) {
			t.Errorf("%s was made before it was journalled", p)
		}
		journal = append(journal, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("mode = %v, want drwx------", info.Mode())
	}
	if diff := cmp.Diff([]undo.Record{undo.Path{Path: dir, Dir: true}}, journal); diff != "" {
		t.Errorf("journal: -want +got\n%s", diff)
	}
	why := errors.New("disk full")
	if _, err := privateDir(base, "", func(undo.Record) error { return why }); !errors.Is(err, why) {
		t.Errorf("err = %v, want %v", err, why)
	}
	if left := names(t, base); len(left) != 1 {
		t.Errorf("%q are there, want only what was journalled", left)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestSocketBase(t *testing.T) {
	// The longest possible socket path must fit in sun_path with its NUL.
	longest := "/" + strings.Repeat("x", maxSocketDir-1) + "/" + PeopleSocket
	if len(longest) != 107 {
		t.Errorf("longest socket path: %d bytes, want 107", len(longest))
	}
	for _, name := range []string{qmpSocket, agentSocket, "serial3"} {
		if len(name) > len(PeopleSocket) {
			t.Errorf("%s is longer than %s", name, PeopleSocket)
		}
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 90))
	if _, err := socketBase(long); !errors.As(err, new(*bench.InfraError)) ||
		!strings.Contains(err.Error(), "too long") {
		t.Errorf("socketBase(long) = %v, want an InfraError that says too long", err)
	}
	t.Setenv("TMPDIR", long) // ignored: there are better directories
	base, err := socketBase("")
	if err != nil {
		t.Fatal(err)
	}
	if len(base)+1+privateNameLen > maxSocketDir {
		t.Errorf("base %s is too long", base)
	}
}

func TestParseList(t *testing.T) {
	got, err := parseList("db\x00f two words\x00fline\nbreak\x00la\x00")
	if err != nil {
		t.Fatal(err)
	}
	want := []bench.DirEntry{
		{Name: " two words"}, {Name: "a", Mode: fs.ModeSymlink}, {Name: "b", Mode: fs.ModeDir}, {Name: "line\nbreak"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func FuzzParseList(f *testing.F) {
	for _, s := range []string{"", "fa\x00", "fa", "f\x00", "\x00", "xa\x00", "da\x00fb\nc\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, out string) {
		entries, err := parseList(out)
		if err != nil {
			return
		}
		size := 0
		for _, e := range entries {
			if e.Name == "" || strings.Contains(e.Name, "\x00") {
				t.Errorf("name %q", e.Name)
			}
			size += len(e.Name) + 2
		}
		if size != len(out) {
			t.Errorf("%d bytes of %d accounted for", size, len(out))
		}
	})
}

// The script runs on this machine's shell, and on busybox if that is installed.
func TestListScript(t *testing.T) {
	shells := [][]string{{"/bin/sh"}}
	for _, s := range [][]string{{"dash"}, {"bash"}, {"busybox", "sh"}} {
		if _, err := exec.LookPath(s[0]); err == nil {
			shells = append(shells, s)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"-n", "*", " ", "a\nb", ".hidden", "..two", "...", "'", `\`, "\xff", "é", "%s"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	must(t, os.Symlink("sub", filepath.Join(dir, "link")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	empty := t.TempDir()

	for _, shell := range shells {
		list := func(dir string) (string, int) {
			cmd := exec.Command(shell[0], append(slices.Clone(shell[1:]), "-c", listScript, "sh", dir)...)
			out, err := cmd.Output()
			if err != nil && !errors.As(err, new(*exec.ExitError)) {
				t.Fatal(err)
			}
			return string(out), cmd.ProcessState.ExitCode()
		}
		out, code := list(dir)
		got, err := parseList(out)
		if err != nil || code != 0 {
			t.Fatalf("%q: code %d, %v", shell, code, err)
		}
		var want []bench.DirEntry
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			want = append(want, bench.DirEntry{Name: e.Name(), Mode: e.Type()})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -want +got\n%s", shell, diff)
		}
		for path, want := range map[string]int{
			empty: 0, filepath.Join(dir, "none"): listMissing, filepath.Join(dir, "*"): listNotDir,
			filepath.Join(dir, "dangling"): listNotDir,
		} {
			if out, code := list(path); code != want || out != "" {
				t.Errorf("%q %q: code %d and %q, want code %d", shell, path, code, out, want)
			}
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConsoleSearch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	var s consoleSearch
	look := func(add string, want bool) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
		must(t, err)
		_, err = f.WriteString(add)
		must(t, err)
		must(t, f.Close())
		if got := s.panicked(path); got != want {
			t.Errorf("after %q: %v, want %v", add, got, want)
		}
	}
	if s.panicked(path) {
		t.Error("a panic in a console that is not there")
	}
	look("[    0.1] Linux\r\n[    0.2] somebody said Kernel panic - not syncing\n", false)
	look("[    0.2] Kernel pan", false)
	look("ic - not syncing: VFS\r\n", false) // the trace is yet to come
	look("[    0.2] Call Trace:\n", false)
	look("", true)
}

// startFailure and endError read the messages of QEMU 10.0.
func TestStartFailure(t *testing.T) {
	as := func(kind any) func(error) bool { return func(err error) bool { return errors.As(err, kind) } }
	host, usage, infra := as(new(*bench.HostError)), as(new(*bench.UsageError)), as(new(*bench.InfraError))
	for _, c := range []struct {
		said string
		kind func(error) bool
		want string
	}{
		{
			"qemu-system-x86_64: -device vfio-pci,host=0000:03:00.1,bus=p1: vfio /sys/bus/pci/devices/0000:03:00.1: " +
				"no such host device: No such file or directory", host,
			"vm0: attach VF 0000:03:00.1: vfio /sys/bus/pci/devices/0000:03:00.1: no such host device: No such file " +
				"or directory (there is no such PCI function: are the VFs enabled (sriov_numvfs)?)",
		},
		{
			"qemu-system-x86_64: -device vfio-pci,host=0000:03:00.1: vfio 0000:03:00.1: failed to open /dev/vfio/12: " +
				"Device or resource busy", host, "another QEMU",
		},
		{
			"qemu-system-x86_64: -device vfio-pci,host=0000:03:00.1,enable-migration=on: vfio 0000:03:00.1: VFIO " +
				"migration is not supported in kernel", host, "bind the vendor VFIO driver",
		},
		{
			"qemu-system-x86_64: -device vfio-pci,host=0000:03:00.1: vfio 0000:03:00.1: something new", host,
			"something new",
		},
		{"qemu-system-x86_64: -nonsense: invalid option", usage, "QEMU refuses -nonsense"},
		{"qemu-system-x86_64: -device foo: 'foo' is not a valid device model name", usage, "QEMU refuses -device foo"},
		{"qemu-system-x86_64: -device bar: 'bar' is not a valid device model name", infra, "exit code 1\nqemu"},
		{
			"qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory", infra,
			"Cannot allocate memory",
		},
	} {
		d := diagnosis{
			life: newLife("vm0"), spec: &Spec{Devices: []string{"foo"}, Extra: []string{"-nonsense", "-x", "y"}},
			logs: &logs{dir: t.TempDir()}, exit: func() Exit { return Exit{Code: 1} },
		}
		must(t, os.WriteFile(d.logs.path("stderr.log"), []byte(c.said+"\n"), 0o600))
		if err := d.ofStart(); !c.kind(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n= %T %v\nwant %q", c.said, err, err, c.want)
		}
	}
}

func TestReverter(t *testing.T) {
	var r reverter
	var did []string
	why := errors.New("first")
	fail := why
	r.add(func(context.Context) error { did = append(did, "first"); return fail })
	r.add(func(context.Context) error { did = append(did, "second"); return nil })
	r.add(func(context.Context) error { did = append(did, "third"); return fail })
	for range 2 { // a failed step stays on the list
		if err := r.run(t.Context()); !errors.Is(err, why) {
			t.Errorf("run = %v, want %v", err, why)
		}
	}
	fail = nil
	for range 2 {
		if err := r.run(t.Context()); err != nil {
			t.Errorf("a run that can = %v", err)
		}
	}
	if diff := cmp.Diff([]string{"third", "second", "first", "third", "first", "third", "first"}, did); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestNoQEMU(t *testing.T) {
	_, err := Start(t.Context(), Spec{Name: "vm0", QEMU: "/nonexistent/qemu", Disks: []Disk{{Image: "x"}}}, Options{})
	if !errors.As(err, new(*bench.InfraError)) || !strings.Contains(err.Error(), "install qemu") {
		t.Errorf("err = %v, want an InfraError with advice", err)
	}
}
