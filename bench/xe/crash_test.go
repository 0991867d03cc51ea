package xe_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/fake/fakehost"
)

// A moment is what survives a crash: the state of the host, and the journal on disk.
type moment struct {
	when    string
	host    fakehost.Snapshot
	journal []byte
}

// record collects a moment before and after every change of h.
func record(t *testing.T, h *fakehost.Host, journal string, moments *[]moment) {
	h.Hook = func(path, value string, done bool) error {
		b, err := os.ReadFile(journal)
		if err != nil {
			t.Error(err)
		}
		when := fmt.Sprintf("%q to %s, done: %v", value, path, done)
		*moments = append(*moments, moment{when, h.Snapshot(), b})
		return nil
	}
}

// torn returns the possible journals after a crash during the write of the last line.
func torn(journal []byte) [][]byte {
	start := bytes.LastIndexByte(bytes.TrimSuffix(journal, []byte("\n")), '\n') + 1
	if start >= len(journal) {
		return nil
	}
	middle := (start + len(journal)) / 2
	return [][]byte{journal[:start], journal[:middle], journal[:len(journal)-1]}
}

// wholeFlow makes all changes of the host that a fixture makes.
func wholeFlow(ctx context.Context, h *fakehost.Host, log *undo.Log, plan func(*xe.PF) vgpu.Plan) error {
	m := host.New(h)
	vfio, err := m.LoadDrivers(ctx, log, "xe")
	if err != nil {
		return err
	}
	pf, err := xe.FindPF(m.Tree(log), xe.Selector{})
	if err != nil {
		return err
	}
	p := plan(pf)
	if err := pf.Provision(ctx, p); err != nil {
		return err
	}
	vfs, err := pf.EnableVFs(ctx, p.VFs)
	if err != nil {
		return err
	}
	for _, vf := range vfs {
		if err := vf.Bind(ctx, vfio); err != nil {
			return err
		}
	}
	qemu := undo.Process{PID: 4711, StartTime: 99, Comm: "qemu-system-x86"}
	h.Start(qemu, vfs[0].VFIONodes()...)
	if err := log.Add(qemu); err != nil {
		return err
	}
	return log.Do(ctx, undo.Path{Path: "/tmp/vm", Dir: true}, func() error {
		if err := h.Mkdir("/tmp/vm"); err != nil {
			return err
		}
		return h.Create("/tmp/vm/overlay.qcow2", []byte("disk"))
	})
}

// TestKilledAnywhere kills the program before, during and after each record and change of a whole
// flow, then replays the journal. On a small host it also kills that replay everywhere. In the end
// the host must be as before.
func TestKilledAnywhere(t *testing.T) {
	profile := func(pf *xe.PF) vgpu.Plan {
		ids, err := pf.IDs()
		if err != nil {
			t.Fatal(err)
		}
		m, err := vgpu.LoadModel(ids.Device, nil, vgpu.Files())
		if err != nil {
			t.Fatal(err)
		}
		total, err := pf.TotalVFs()
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := m.Plan(min(2, total), vgpu.Fixed30FPS)
		if err != nil {
			t.Fatal(err)
		}
		p.Security = vgpu.Security{ResetAfterSwitch: true, SamplePeriod: 7, Thresholds: vgpu.Thresholds{PageFault: 3}}
		return p
	}
	auto := func(*xe.PF) vgpu.Plan {
		p := vgpu.Auto(2)
		p.Scheduling = vgpu.Scheduling{
			PF: vgpu.TimeSlice{Quantum: 20, Timeout: 20000}, VF: vgpu.TimeSlice{Quantum: 10}, ScheduleIfIdle: true,
		}
		return p
	}
	small := func(o fakehost.Options) fakehost.Options {
		o.TotalVFs = 3
		return o
	}
	tiny := small(fakehost.BMG()) // small enough for a kill of each replay
	tiny.TotalVFs, tiny.GTs = 1, 1
	loaded := func(o fakehost.Options) fakehost.Options {
		o.Loaded = []string{"xe"}
		return o
	}
	flat := func(o fakehost.Options) fakehost.Options {
		o.Flat = true
		return o
	}
	// tuned is a host whose owner has changed every setting that can be changed. They must survive.
	tuned := []string{
		"/sys/bus/pci/devices/0000:03:00.0/sriov_admin/.bulk_profile/exec_quantum_ms", "30",
		"/sys/bus/pci/devices/0000:03:00.0/sriov_admin/.bulk_profile/sched_priority", "normal",
		"/sys/bus/pci/devices/0000:03:00.0/sriov_admin/pf/profile/sched_priority", "high",
		"/sys/bus/pci/devices/0000:03:00.0/sriov_drivers_autoprobe", "0",
	}
	for _, c := range []struct {
		name    string
		options fakehost.Options
		plan    func(*xe.PF) vgpu.Plan
		before  []string
	}{
		{"twice", tiny, profile, nil},
		{"BMG profile", small(fakehost.BMG()), profile, nil},
		{"BMG auto", small(fakehost.BMG()), auto, nil},
		{"BMG profile, host tuned", loaded(small(fakehost.BMG())), profile, tuned},
		{"BMG auto, host tuned", loaded(small(fakehost.BMG())), auto, tuned},
		{"PTL profile", small(fakehost.PTL()), profile, nil},
		{"BMG flat profile", loaded(flat(small(fakehost.BMG()))), profile, nil},
		{"BMG flat auto", loaded(flat(small(fakehost.BMG()))), auto, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := fakehost.New(c.options)
			for i := 0; i < len(c.before); i += 2 {
				if err := h.WriteFile(c.before[i], []byte(c.before[i+1])); err != nil {
					t.Fatal(err)
				}
			}
			killEverywhere(t, h, c.plan, c.name == "twice")
		})
	}
}

func killEverywhere(t *testing.T, h *fakehost.Host, plan func(*xe.PF) vgpu.Plan, nested bool) {
	first := h.Snapshot()
	journal := filepath.Join(memory(t), "undo.jsonl")
	log, err := undo.Open(journal)
	if err != nil {
		t.Fatal(err)
	}
	var moments []moment
	record(t, h, journal, &moments)
	if err := wholeFlow(t.Context(), h, log, plan); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	replays := 0
	var before []byte
	for _, m := range moments {
		if !bytes.Equal(m.journal, before) { // a new last line, whose change has not begun
			for _, cut := range torn(m.journal) {
				replays += replay(t, h, first, moment{"torn before " + m.when, m.host, cut}, false)
			}
		}
		before = m.journal
		replays += replay(t, h, first, m, nested)
	}
	t.Logf("%d moments, %d replays", len(moments), replays)
	if len(moments) < 25 {
		t.Errorf("only %d moments: the flow does less than it should", len(moments))
	}
}

// memory returns a directory for a journal, on a file system without slow syncs if there is one.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "vmtb-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// replay undoes the journal of a moment and compares the host with first. If nested, it also does
// so from every moment of that undo.
func replay(t *testing.T, h *fakehost.Host, first fakehost.Snapshot, m moment, nested bool) int {
	t.Helper()
	host := h.FromSnapshot(m.host)
	journal := filepath.Join(memory(t), "undo.jsonl")
	if err := os.WriteFile(journal, m.journal, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := undo.Open(journal)
	if err != nil {
		t.Fatalf("killed at %s: %v", m.when, err)
	}
	var inner []moment
	if nested {
		record(t, host, journal, &inner)
	}
	if err := log.Undo(t.Context(), host); err != nil {
		t.Errorf("killed at %s: %v", m.when, err)
	}
	if n := len(log.Pending()); n > 0 {
		t.Errorf("killed at %s: %d records pending", m.when, n)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if host.Snapshot() != first {
		t.Fatalf(
			"killed at %s: not as before (-want +got):\n%s", m.when,
			cmp.Diff(h.FromSnapshot(first).Dump(), host.Dump()),
		)
	}
	n := 1
	for _, i := range inner {
		n += replay(t, h, first, moment{m.when + ", again at " + i.when, i.host, i.journal}, false)
	}
	return n
}
