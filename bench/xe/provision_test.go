package xe_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/fake/fakehost"
)

type setup struct {
	*fakehost.Host
	log *undo.Log
}

func newSetup(t *testing.T, o fakehost.Options) setup {
	t.Helper()
	if o.Loaded == nil {
		o.Loaded = []string{"xe", "xe_vfio_pci"}
	}
	return setup{fakehost.New(o), newLog(t)}
}

func newLog(t *testing.T) *undo.Log {
	t.Helper()
	log, err := undo.Open(filepath.Join(memory(t), "undo.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

func (s setup) find(t *testing.T) *xe.PF {
	t.Helper()
	pf, err := xe.FindPF(host.New(s.Host).Tree(s.log), xe.Selector{})
	if err != nil {
		t.Fatal(err)
	}
	return pf
}

func (s setup) write(t *testing.T, file, value string) {
	t.Helper()
	if err := s.WriteFile(file, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func (s setup) text(t *testing.T, file string) string {
	t.Helper()
	b, err := s.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func flat(o fakehost.Options) fakehost.Options {
	o.Flat = true
	return o
}

const (
	pfDir = "/sys/bus/pci/devices/0000:03:00.0"
	dri   = "/sys/kernel/debug/dri/0000:03:00.0"
)

// TestProvision checks the kernel's values afterwards, in both generations of its interface.
func TestProvision(t *testing.T) {
	quota := vgpu.Resources{GGTT: 1 << 30, VRAM: 3 << 20, Contexts: 1000, Doorbells: 33}
	rounded := quota
	rounded.VRAM = 4 << 20
	sched := vgpu.Scheduling{
		PF: vgpu.TimeSlice{Quantum: 20, Timeout: 20000}, VF: vgpu.TimeSlice{Quantum: 200_000, Timeout: 16000},
		ScheduleIfIdle: true,
	}
	spare := vgpu.Resources{GGTT: 128 << 20, VRAM: 200 << 20, Contexts: 512, Doorbells: 16}
	for name, o := range map[string]fakehost.Options{"tree": fakehost.BMG(), "flat": flat(fakehost.BMG())} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, o)
			first := s.Snapshot()
			pf := s.find(t)
			plan := vgpu.Plan{
				VFs: 2, Quota: &quota, Spare: spare, Scheduling: sched, Security: vgpu.Security{ResetAfterSwitch: true},
			}
			if err := pf.Provision(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			vfs, err := pf.EnableVFs(t.Context(), 2)
			if err != nil || len(vfs) != 2 {
				t.Fatal(vfs, err)
			}
			for vf, want := range map[int]vgpu.Resources{1: rounded, 2: rounded, 3: {}} {
				if got, err := pf.Quotas.Of(vf); err != nil || got != want {
					t.Errorf("VF%d holds %+v, %v; want %+v", vf, got, err, want)
				}
			}
			if got, err := pf.Quotas.Spare(); err != nil || got != spare {
				t.Errorf("spare: %+v, %v", got, err)
			}
			dir := dri + "/sriov/%s/tile0/gt1/"
			if o.Flat {
				dir = dri + "/gt1/%s/"
			}
			for file, want := range map[string]string{
				fmt.Sprintf(dir, "pf") + "reset_engine": "1", fmt.Sprintf(dir, "pf") + "sched_if_idle": "1",
				fmt.Sprintf(dir, "pf") + "exec_quantum_ms": "20", fmt.Sprintf(dir, "vf2") + "exec_quantum_ms": "100000",
				fmt.Sprintf(dir, "vf2") + "preempt_timeout_us": "16000",
				fmt.Sprintf(dir, "vf3") + "exec_quantum_ms":    "0",
				fmt.Sprintf(dir, "vf3") + "sched_priority":     "1", pfDir + "/sriov_drivers_autoprobe": "0",
			} {
				if got := s.text(t, file); got != want {
					t.Errorf("%s: %s, want %s", file, got, want)
				}
			}
			if err := s.log.Undo(t.Context(), s.Host); err != nil {
				t.Error(err)
			}
			if s.Snapshot() != first {
				t.Error(cmp.Diff(s.FromSnapshot(first).Dump(), s.Dump()))
			}
		})
	}
}

// TestAutoStaysAuto: a plan's scheduling must not turn automatic provisioning into custom mode. In
// custom mode, quotas outlive their VFs.
func TestAutoStaysAuto(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	pf := s.find(t)
	plan := vgpu.Auto(2)
	plan.Scheduling = vgpu.Scheduling{
		PF: vgpu.TimeSlice{Quantum: 20}, VF: vgpu.TimeSlice{Quantum: 10, Timeout: 5}, ScheduleIfIdle: true,
	}
	if err := pf.Provision(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if _, err := pf.EnableVFs(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if got := s.text(t, pfDir+"/sriov_admin/vf2/profile/exec_quantum_ms"); got != "10" {
		t.Errorf("EQ of VF2: %s", got)
	}
	if q, err := pf.Quotas.Of(2); err != nil || q.Contexts != 16384 {
		t.Errorf("fair share: %+v, %v", q, err)
	}
	if err := pf.DisableVFs(t.Context()); err != nil {
		t.Fatal(err)
	}
	if q, err := pf.Quotas.Of(1); err != nil || q != (vgpu.Resources{}) {
		t.Errorf("VF1 holds %+v, %v after it was disabled", q, err)
	}
}

// TestGTsDiffer: Provision succeeds although only one GT was changed before, and sysfs returns
// EUCLEAN for it.
func TestGTsDiffer(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	for _, f := range []string{"pf", "vf1"} {
		s.write(t, dri+"/sriov/"+f+"/tile0/gt1/exec_quantum_ms", "5")
	}
	pf := s.find(t)
	if err := pf.Provision(t.Context(), vgpu.Auto(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := pf.EnableVFs(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"pf", "vf1"} {
		if got := s.text(t, pfDir+"/sriov_admin/"+f+"/profile/exec_quantum_ms"); got != "0" {
			t.Errorf("EQ of %s: %s", f, got)
		}
	}
	if err := s.log.Undo(t.Context(), s.Host); err != nil {
		t.Error(err)
	}
}

// TestDirtyStart: after a run that died and left any state but no journal, the next run provisions
// as usual.
func TestDirtyStart(t *testing.T) {
	for name, o := range map[string]fakehost.Options{"tree": fakehost.BMG(), "flat": flat(fakehost.BMG())} {
		t.Run(name, func(t *testing.T) {
			o.TotalVFs, o.Loaded = 2, []string{"xe"}
			old := fakehost.New(o)
			journal := filepath.Join(memory(t), "undo.jsonl")
			log, err := undo.Open(journal)
			if err != nil {
				t.Fatal(err)
			}
			var moments []moment
			record(t, old, journal, &moments)
			big := func(*xe.PF) vgpu.Plan {
				q := vgpu.Resources{GGTT: 1900 << 20, VRAM: 6000 << 20, Contexts: 30000, Doorbells: 120}
				return vgpu.Plan{
					VFs: 2, Quota: &q,
					Scheduling: vgpu.Scheduling{VF: vgpu.TimeSlice{Quantum: 7}, ScheduleIfIdle: true},
				}
			}
			if err := wholeFlow(t.Context(), old, log, big); err != nil {
				t.Fatal(err)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			q := vgpu.Resources{GGTT: 3 << 30, VRAM: 11000 << 20, Contexts: 60000, Doorbells: 240}
			for _, m := range moments {
				s := setup{old.FromSnapshot(m.host), newLog(t)}
				if err := s.Kill(t.Context(), undo.Process{
					PID: 4711, StartTime: 99, Comm: "qemu-system-x86",
				}); err != nil {
					t.Fatal(err)
				}
				for _, plan := range []vgpu.Plan{{VFs: 1, Quota: &q}, vgpu.Auto(2)} {
					checkProvision(t, s, plan, m.when)
				}
			}
			t.Logf("%d states left over", len(moments))
		})
	}
}

func checkProvision(t *testing.T, s setup, plan vgpu.Plan, when string) {
	t.Helper()
	pf := s.find(t)
	if err := pf.Provision(t.Context(), plan); err != nil {
		t.Fatalf("after a crash at %s: %v", when, err)
	}
	if _, err := pf.EnableVFs(t.Context(), plan.VFs); err != nil {
		t.Fatalf("after a crash at %s: %v", when, err)
	}
	if got, err := pf.Quotas.Of(1); err != nil || plan.Quota != nil && got != *plan.Quota {
		t.Errorf("after a crash at %s: VF1 holds %+v, %v", when, got, err)
	}
	if err := s.log.Undo(t.Context(), s.Host); err != nil {
		t.Errorf("after a crash at %s: %v", when, err)
	}
	if got := s.text(t, pfDir+"/sriov_numvfs"); got != "0" {
		t.Errorf("%s VFs are left", got)
	}
}

// TestEveryWriteFails makes each write of a flow fail once. The error must name the write, and the
// host must be restored.
func TestEveryWriteFails(t *testing.T) {
	o := fakehost.BMG()
	o.TotalVFs, o.Loaded = 3, []string{"xe"}
	q := vgpu.Resources{GGTT: 1 << 30, VRAM: 1 << 30, Contexts: 1000, Doorbells: 33}
	plan := func(*xe.PF) vgpu.Plan {
		return vgpu.Plan{
			VFs: 2, Quota: &q, Spare: vgpu.Resources{Doorbells: 16},
			Scheduling: vgpu.Scheduling{VF: vgpu.TimeSlice{Quantum: 7}, ScheduleIfIdle: true},
		}
	}
	for n := 1; ; n++ {
		s := setup{fakehost.New(o), newLog(t)}
		first := s.Snapshot()
		writes, failed := 0, ""
		s.Hook = func(path, _ string, done bool) error {
			if !done {
				writes++
			}
			if !done && writes == n {
				failed = path
				return syscall.EIO
			}
			return nil
		}
		err := wholeFlow(t.Context(), s.Host, s.log, plan)
		if failed == "" { // the flow makes fewer than n writes
			if err != nil || n < 25 {
				t.Errorf("%d writes, %v", n, err)
			}
			return
		}
		s.Hook = nil
		if !errors.Is(err, syscall.EIO) || strings.HasPrefix(failed, "/sys") &&
			!strings.Contains(err.Error(), filepath.Base(failed)) {
			t.Errorf("%s failed: %v", failed, err)
		}
		if err := s.Kill(t.Context(), undo.Process{PID: 4711, StartTime: 99, Comm: "qemu-system-x86"}); err != nil {
			t.Error(err)
		}
		if err := s.log.Undo(t.Context(), s.Host); err != nil {
			t.Errorf("%s failed: %v", failed, err)
		}
		if s.Snapshot() != first {
			t.Fatalf("%s failed, then:\n%s", failed, cmp.Diff(s.FromSnapshot(first).Dump(), s.Dump()))
		}
	}
}

func TestProvisionRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		plan vgpu.Plan
		says string
	}{
		{"no VFs", vgpu.Auto(0), "card1 (0000:03:00.0) allows 1 to 6"},
		{"too many VFs", vgpu.Auto(7), "card1 (0000:03:00.0) allows 1 to 6"},
		{"4 GiB", vgpu.Plan{VFs: 1, Quota: &vgpu.Resources{GGTT: 4 << 30}}, "must be less than 4 GiB"},
		{
			"PF's GGTT",
			vgpu.Plan{VFs: 2, Quota: &vgpu.Resources{GGTT: 2110 << 20}},
			"2 VFs would need 4424990720 bytes of GGTT, but only 4200595456 are available",
		},
		{
			"VRAM",
			vgpu.Plan{VFs: 2, Quota: &vgpu.Resources{GGTT: 1 << 20, VRAM: 7 << 30}},
			"vf2/tile0/vram_quota: ENOSPC (no space left on device) (not enough left",
		},
		{"contexts", vgpu.Plan{VFs: 1, Quota: &vgpu.Resources{Contexts: 65535}}, "contexts_quota: EDQUOT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSetup(t, fakehost.BMG())
			if err := s.find(t).Provision(t.Context(), c.plan); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Provision: %v", err)
			}
		})
	}
}

// TestNotTaken: the kernel accepts a quota and sets another value.
func TestNotTaken(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	pf := s.find(t)
	file := dri + "/sriov/vf1/tile0/gt1/doorbells_quota"
	s.Hook = func(path, value string, done bool) error {
		if path == file && value == "32" && done {
			return s.WriteFile(path, []byte("31"))
		}
		return nil
	}
	err := pf.Quotas.Set(t.Context(), 1, vgpu.Resources{Contexts: 100, Doorbells: 32})
	if err == nil || !strings.Contains(err.Error(), "write 32 to "+file+": the file then reads 31, not 32") {
		t.Errorf("SetQuota: %v", err)
	}
}

// TestFewerContextsOnOneGT: Linux 6.17.13 was seen to give a VF one context more on one GT.
func TestFewerContextsOnOneGT(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	s.write(t, dri+"/sriov/vf1/tile0/gt0/contexts_quota", "100")
	s.write(t, dri+"/sriov/vf1/tile0/gt1/contexts_quota", "101")
	pf := s.find(t)
	if q, err := pf.Quotas.Of(1); err != nil || q.Contexts != 100 {
		t.Errorf("Of: %+v, %v", q, err)
	}
	if q, err := pf.Quotas.ByGT(1); err != nil || q[0].Contexts != 100 || q[1].Contexts != 101 {
		t.Errorf("ByGT: %+v, %v", q, err)
	}
}

// TestEmptyVF: in custom mode the kernel enables VFs without resources. EnableVFs refuses this.
func TestEmptyVF(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	s.write(t, dri+"/sriov/vf1/tile0/gt0/contexts_quota", "100")
	_, err := s.find(t).EnableVFs(t.Context(), 1)
	if err == nil || !strings.Contains(err.Error(), "custom mode and quotas are missing") {
		t.Errorf("EnableVFs: %v", err)
	}
	s.write(t, pfDir+"/sriov_numvfs", "0")
	s.write(t, dri+"/sriov/vf1/tile0/gt1/contexts_quota", "100")
	if _, err = s.find(t).EnableVFs(t.Context(), 1); err == nil ||
		!strings.Contains(err.Error(), "custom mode and quotas are missing") {
		t.Errorf("EnableVFs: %v", err)
	}
}

// TestShippedProfiles provisions each shipped profile on a GPU of its kind: the profile must fit
// into the GPU.
func TestShippedProfiles(t *testing.T) {
	for name, o := range map[string]fakehost.Options{
		"BMG": fakehost.BMG(), "PTL": fakehost.PTL(),
		"ATS-M": {Bus: 3, Device: 0x56c0, TotalVFs: 31, GTs: 1, VRAM: 16 << 30},
	} {
		o.TotalVFs = max(o.TotalVFs, 16)
		m, err := vgpu.LoadModel(o.Device, nil, vgpu.Files())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Profiles {
			t.Run(fmt.Sprint(name, " ", p.VFs), func(t *testing.T) {
				s := newSetup(t, o)
				pf := s.find(t)
				plan, _, err := m.Plan(p.VFs, vgpu.DefaultProfile)
				if err != nil {
					t.Fatal(err)
				}
				if err := pf.Provision(t.Context(), plan); err != nil {
					t.Fatal(err)
				}
				vfs, err := pf.EnableVFs(t.Context(), p.VFs)
				if err != nil || len(vfs) != p.VFs {
					t.Errorf("EnableVFs: %v, %v", vfs, err)
				}
			})
		}
	}
}
