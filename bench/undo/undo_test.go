package undo_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/internal/fake/fakehost"
)

func open(t *testing.T, path string, kinds ...undo.Kind) *undo.Log {
	t.Helper()
	l, err := undo.Open(path, kinds...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // some tests close the journal themselves
	return l
}

func journal(t *testing.T) string { return filepath.Join(t.TempDir(), "undo.jsonl") }

func newHost(t *testing.T) *fakehost.Host {
	t.Helper()
	o := fakehost.BMG()
	o.Loaded = []string{"xe"}
	return fakehost.New(o)
}

const (
	pf        = "/sys/bus/pci/devices/0000:03:00.0"
	autoprobe = pf + "/sriov_drivers_autoprobe"
	numvfs    = pf + "/sriov_numvfs"
)

// write records and makes a write on h.
func write(t *testing.T, l *undo.Log, h *fakehost.Host, w undo.Write) {
	t.Helper()
	if err := l.Do(t.Context(), w, func() error { return h.WriteFile(w.Path, []byte(w.New)) }); err != nil {
		t.Fatal(err)
	}
}

func TestUndoNewestFirst(t *testing.T) {
	h, l := newHost(t), open(t, journal(t))
	write(t, l, h, undo.Write{Path: autoprobe, Old: "1", New: "0"})
	mark := l.Mark()
	write(t, l, h, undo.Write{Path: numvfs, Old: "0", New: "2"})
	var order []string
	h.Hook = func(path, value string, done bool) error {
		if !done {
			order = append(order, filepath.Base(path)+"="+value)
		}
		return nil
	}
	if err := l.UndoTo(t.Context(), h, mark); err != nil {
		t.Fatal(err)
	}
	if n := len(l.Pending()); n != 1 {
		t.Errorf("%d records pending after UndoTo, want the one before the mark", n)
	}
	for range 2 { // the second time changes nothing
		if err := l.Undo(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"sriov_numvfs=0", "sriov_drivers_autoprobe=1"}, order); diff != "" {
		t.Error(diff)
	}
}

func TestNotOurs(t *testing.T) {
	h, l := newHost(t), open(t, journal(t))
	write(t, l, h, undo.Write{Path: numvfs, Old: "0", New: "2"})
	for _, v := range []string{"0", "3"} { // three VFs enabled by another process
		if err := h.WriteFile(numvfs, []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Mkdir("/tmp/dir"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []undo.Record{
		undo.Path{Path: "/tmp/dir"}, undo.Binding{Device: pf, Driver: "vfio-pci", OldDriver: "i915"},
	} {
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	before := h.Snapshot()
	err := l.Undo(t.Context(), h)
	if n := strings.Count(err.Error(), undo.ErrNotOurs.Error()); n != 3 || !errors.Is(err, undo.ErrNotOurs) {
		t.Errorf("%d of 3 records left alone: %v", n, err)
	}
	if h.Snapshot() != before {
		t.Error("something was undone")
	}
	if n := len(l.Pending()); n != 0 {
		t.Errorf("%d records stay pending", n)
	}
}

func TestFailedUndoStaysPending(t *testing.T) {
	path := journal(t)
	h, l := newHost(t), open(t, path)
	write(t, l, h, undo.Write{Path: autoprobe, Old: "1", New: "0"})
	write(t, l, h, undo.Write{Path: numvfs, Old: "0", New: "2"})
	h.Hook = func(path, _ string, _ bool) error {
		if path == numvfs || strings.HasSuffix(path, "sriov_numvfs") {
			return syscall.EIO
		}
		return nil
	}
	if err := l.Undo(t.Context(), h); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "sriov_numvfs") {
		t.Errorf("Undo: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	h.Hook = nil
	l = open(t, path) // another process succeeds, and finds the older record undone
	want := []undo.Entry{{ID: 2, Record: undo.Write{Path: numvfs, Old: "0", New: "2"}}}
	if diff := cmp.Diff(want, l.Pending()); diff != "" {
		t.Error(diff)
	}
	if err := l.Undo(t.Context(), h); err != nil || len(l.Pending()) != 0 {
		t.Errorf("Undo: %v, %v pending", err, l.Pending())
	}
}

func TestDoNeedsTheJournal(t *testing.T) {
	l := open(t, journal(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	change := func() error { t.Error("changed"); return nil }
	if err := l.Do(ctx, undo.Module{Name: "xe"}, change); !errors.Is(err, context.Canceled) {
		t.Errorf("Do after ctx ended: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Do(t.Context(), undo.Module{Name: "xe"}, change); !errors.As(err, new(*bench.InfraError)) {
		t.Errorf("Do with a closed journal: %v, want an InfraError", err)
	}
	if len(l.Pending()) != 0 {
		t.Error("a record that is not on disk is pending")
	}
}

func TestUndoStopsWithContext(t *testing.T) {
	h, l := newHost(t), open(t, journal(t))
	write(t, l, h, undo.Write{Path: autoprobe, Old: "1", New: "0"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Undo(ctx, h); !errors.Is(err, context.Canceled) || len(l.Pending()) != 1 {
		t.Errorf("Undo: %v, %d pending", err, len(l.Pending()))
	}
}

// TestUndoHangs: Undo returns at its deadline although an unknown process holds a VF and the kernel
// waits for that process.
func TestUndoHangs(t *testing.T) { synctest.Test(t, testUndoHangs) }

func testUndoHangs(t *testing.T) {
	o := fakehost.BMG()
	o.Loaded = []string{"xe", "xe_vfio_pci"}
	h, l := fakehost.New(o), open(t, journal(t))
	write(t, l, h, undo.Write{Path: autoprobe, Old: "1", New: "0"})
	write(t, l, h, undo.Write{Path: numvfs, Old: "0", New: "1"})
	for _, w := range [][2]string{
		{pf + "/virtfn0/driver_override", "xe-vfio-pci"}, {"/sys/bus/pci/drivers_probe", "0000:03:00.1"},
	} {
		if err := h.WriteFile(w[0], []byte(w[1])); err != nil {
			t.Fatal(err)
		}
	}
	stranger := undo.Process{PID: 77, StartTime: 1, Comm: "stranger"}
	h.Start(stranger, "/dev/vfio/11")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := l.Undo(ctx, h); !errors.Is(err, context.DeadlineExceeded) || len(l.Pending()) != 2 {
		t.Errorf("Undo: %v, pending %v", err, l.Pending())
	}
	if err := h.Kill(t.Context(), stranger); err != nil {
		t.Fatal(err)
	}
	if err := l.Undo(t.Context(), h); err != nil || len(l.Pending()) != 0 {
		t.Errorf("Undo: %v, pending %v", err, l.Pending())
	}
}

func TestJournalInUse(t *testing.T) {
	path := journal(t)
	open(t, path)
	if _, err := undo.Open(path); !errors.Is(err, undo.ErrInUse) {
		t.Errorf("second Open: %v", err)
	}
}

// An own is a kind of record that another package registers.
type own struct{ Text string }

func (own) Kind() string                            { return "own" }
func (o own) String() string                        { return o.Text }
func (o own) Undone() string                        { return o.Text }
func (own) Undo(context.Context, undo.System) error { return nil }

func TestKinds(t *testing.T) {
	path := journal(t)
	l := open(t, path)
	records := []undo.Record{
		undo.Write{Path: "/sys/x", Old: "1", New: "2", Restore: "3", Blind: true},
		undo.Binding{Device: pf, Driver: "vfio-pci", OldDriver: "xe", OldOverride: "i915"},
		undo.Module{Name: "xe"},
		undo.Process{PID: 1, StartTime: 2, Comm: "a b", BootID: "c"},
		undo.Path{Path: "/tmp/x", Dir: true},
		own{"hello"},
	}
	for _, r := range records {
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, path, undo.KindOf[own]())
	for i, e := range l.Pending() {
		if diff := cmp.Diff(records[i], e.Record); diff != "" {
			t.Error(diff)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, path) // a program without this kind keeps the record and reports it
	if err := l.Undo(t.Context(), newHost(t)); err == nil || !strings.Contains(err.Error(), "unknown kind") {
		t.Errorf("Undo: %v", err)
	}
	last := l.Pending()[len(l.Pending())-1]
	if last.ID != 6 || last.Record.Kind() != "own" {
		t.Errorf("pending: %v", last)
	}
}

func TestDamagedJournal(t *testing.T) {
	good := `{"id":1,"kind":"module","record":{"name":"xe"}}` + "\n"
	for _, c := range []struct {
		name, text string
		pending    int
		fails      bool
	}{
		{"empty", "", 0, false},
		{"torn", good + `{"id":2,"ki`, 1, false},
		{"whole line without its end", good + strings.TrimSpace(good), 1, false},
		{"zeros after a power cut", good + "\x00\x00\x00\n", 1, false},
		{"middle damaged", "{\n" + good, 0, true},
		{"no id", `{"seq":1,"record":{}}` + "\n" + good, 0, true},
		{"no record", "{}\n", 0, true},
		{"no sane id", `{"id":9223372036854775807,"kind":"module","record":{"name":"xe"}}` + "\n", 0, true},
		{"negative id", `{"id":-1,"kind":"module","record":{"name":"xe"}}` + "\n", 0, true},
		{"written twice", good + good, 2, false},
		{"undone twice", good + `{"done":1}` + "\n" + `{"done":1}` + "\n", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := journal(t)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := undo.Open(path)
			if c.fails {
				if err == nil || !strings.Contains(err.Error(), "line 1") {
					t.Errorf("Open: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := len(l.Pending()); n != c.pending {
				t.Errorf("%d pending, want %d", n, c.pending)
			}
			if err := l.Add(undo.Module{Name: "new"}); err != nil { // must not be appended to a torn line
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if n := len(open(t, path).Pending()); n != c.pending+1 {
				t.Errorf("%d pending after one more, want %d", n, c.pending+1)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "undo.jsonl")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	backwards := journal(t)
	text := `{"id":2,"kind":"module","record":{"name":"a"}}` + "\n" + `{"id":1,"kind":"module","record":{"name":"b"}}` +
		"\n"
	if err := os.WriteFile(backwards, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		fifo: "not a regular file", filepath.Dir(fifo): "is a directory", backwards: "line 2: a record with id 1 after",
	} {
		if _, err := undo.Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func TestPathRefuses(t *testing.T) {
	for _, p := range []string{"", "relative", "/", "/tmp", "/tmp/../etc/x", "/tmp/x/"} {
		if err := (undo.Path{Path: p, Dir: true}).Undo(t.Context(), newHost(t)); err == nil {
			t.Errorf("Path %q: no error", p)
		}
	}
}

// TestAnyOrder makes random changes of the PF and undoes them all.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHost(t)
		first := h.Snapshot()
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		l, err := undo.Open(filepath.Join(dir, "undo.jsonl"))
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		files := []string{
			numvfs, autoprobe, pf + "/sriov_admin/pf/profile/exec_quantum_ms",
			pf + "/sriov_admin/vf1/profile/exec_quantum_ms",
		}
		for range rapid.IntRange(1, 8).Draw(rt, "changes") {
			file := rapid.SampledFrom(files).Draw(rt, "file")
			value := rapid.SampledFrom([]string{"0", "1", "2", "9"}).Draw(rt, "value")
			b, err := h.ReadFile(file)
			if err != nil {
				rt.Fatal(err)
			}
			w := undo.Write{Path: file, Old: strings.TrimSpace(string(b))}
			// A refused write, such as EBUSY for a second sriov_numvfs, leaves the record of a
			// change that did not happen.
			_ = l.Do(t.Context(), w, func() error { return h.WriteFile(file, []byte(value)) })
		}
		if err := l.Undo(t.Context(), h); err != nil {
			rt.Fatal(err)
		}
		if h.Snapshot() != first {
			rt.Fatal(cmp.Diff(h.FromSnapshot(first).Dump(), h.Dump()))
		}
	})
}

func FuzzJournal(f *testing.F) {
	f.Add(
		[]byte(`{"id":1,"kind":"write","record":{"path":"/sys/x","old":"1"}}` + "\n" + `{"done":1,"note":"n"}` + "\n"),
	)
	f.Add([]byte(`{"id":7,"kind":"nobody knows","record":[1]}` + "\n{"))
	dir, err := os.MkdirTemp("/dev/shm", "vmtb-fuzz") // a disk would spend all the time on syncs
	if err != nil {
		dir = f.TempDir()
	}
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, fmt.Sprint(os.Getpid(), ".jsonl")) // each worker of the fuzzer is a process
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := undo.Open(path)
		if err != nil {
			return
		}
		want := len(l.Pending())
		if err := l.Add(undo.Module{Name: "xe"}); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, err = undo.Open(path); err != nil {
			t.Fatalf("what was read once cannot be read again: %v", err)
		}
		if n := len(l.Pending()); n != want+1 {
			t.Errorf("%d pending, want %d and the new one", n, want)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// The text of a change names the new value. The text of its undoing names the restored value.
func TestRecordString(t *testing.T) {
	for _, c := range []struct {
		record      undo.Record
		want, after string
	}{
		{
			undo.Write{Path: "/sys/numvfs", Old: "0", New: "2"},
			`/sys/numvfs changed from "0" to "2"`,
			`/sys/numvfs changed back to "0"`,
		},
		{
			undo.Write{Path: "/sys/priority", Old: "[low] normal high", Restore: "low", New: "high"},
			`/sys/priority changed from "[low] normal high" to "high"`, `/sys/priority changed back to "low"`,
		},
		{
			undo.Write{Path: "/sys/quantum", Old: "0"},
			`/sys/quantum changed from "0"`,
			`/sys/quantum changed back to "0"`,
		},
		{
			undo.Write{Path: "/sys/restore", Restore: "1", Blind: true},
			`/sys/restore changed, writing "1" undoes it`,
			`/sys/restore changed by writing "1"`,
		},
		{
			undo.Binding{Device: "/sys/bus/pci/devices/0000:01:10.0", Driver: "vfio-pci"},
			"driver of 0000:01:10.0 changed from none to vfio-pci", "driver of 0000:01:10.0 changed back to none",
		},
		{
			undo.Binding{Device: "/sys/bus/pci/devices/0000:01:10.0", OldDriver: "xe"},
			"driver of 0000:01:10.0 changed from xe to none", "driver of 0000:01:10.0 changed back to xe",
		},
		{undo.Module{Name: "xe"}, "module xe loaded", "module xe unloaded, unless it is in use"},
		{undo.Process{PID: 7, Comm: "qemu"}, "process 7 (qemu) started", "process 7 (qemu) ended"},
		{undo.Path{Path: "/run/x"}, "/run/x created", "/run/x removed"},
	} {
		if got, after := c.record.String(), c.record.Undone(); got != c.want || after != c.after {
			t.Errorf("%+v: %q and %q, want %q and %q", c.record, got, after, c.want, c.after)
		}
	}
}
