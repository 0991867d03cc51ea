package xe_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/fake/fakehost"
)

// TestAvailable: AvailableGGTT reads the free part of the GGTT, in both layouts.
func TestAvailable(t *testing.T) {
	for name, o := range map[string]fakehost.Options{
		"tree": fakehost.BMG(), "flat": flat(fakehost.BMG()), "PTL": ptlAtBMG(),
	} {
		t.Run(name, func(t *testing.T) {
			_, pf := enabled(t, o)
			if a, err := pf.AvailableGGTT(0); err != nil || len(a.Holes) != 1 || a.Holes[0].Size() != a.Total ||
				a.Total-a.Spare < a.Avail {
				t.Errorf("AvailableGGTT: %+v, %v", a, err)
			}
			if _, err := pf.AvailableGGTT(1); !errors.Is(err, bench.ErrNotAvailable) {
				t.Errorf("AvailableGGTT of no tile: %v", err)
			}
		})
	}
}

func ptlAtBMG() fakehost.Options {
	o := fakehost.BMG()
	o.Device, o.VRAM = 0xb080, 0
	return o
}

// TestTold: the PF's other texts are read from their place in each layout.
func TestTold(t *testing.T) {
	for name, o := range map[string]fakehost.Options{"tree": fakehost.BMG(), "flat": flat(fakehost.BMG())} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, o)
			dir, gt1 := dri+"/sriov/pf", dri+"/sriov/pf/tile0/gt1"
			if o.Flat {
				dir, gt1 = dri+"/pf", dri+"/gt1/pf"
			}
			files := map[string]string{
				dri + "/sriov_info":     "supported: yes\nenabled: yes\nmode: SR-IOV PF\n",
				dir + "/vfs":            "total: 24\nsupported: 6\nenabled: 2\n",
				dir + "/versions":       "base:\t1.0\nlatest:\t1.0\nVF2:\t1.0\n",
				gt1 + "/adverse_events": "VF2:\tpage_fault_count:7 \n",
			}
			pf := s.findOn(t, overlay{s.Host, files})
			limits, err := pf.Limits()
			mode, err2 := pf.Mode()
			versions, err3 := pf.Versions()
			events, err4 := pf.AdverseEvents(pf.GTs[1])
			if err := errors.Join(err, err2, err3, err4); err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprint(limits, mode, versions, events)
			if want := "{24 6 2} {true true SR-IOV PF} {1.0 1.0 map[2:1.0]} [{2 {0 0 7 0 0 0 0}}]"; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			files[gt1+"/adverse_events"] = "VF2: none\n"
			var he *bench.HostError
			if _, err := pf.AdverseEvents(pf.GTs[1]); !errors.As(err, &he) ||
				!strings.HasSuffix(he.Noun, "gt1/pf/adverse_events") &&
					!strings.HasSuffix(he.Noun, "pf/tile0/gt1/adverse_events") {
				t.Errorf("AdverseEvents: %v", err)
			}
		})
	}
}

// An overlay is a host on which some files have fixed contents and ignore writes.
type overlay struct {
	*fakehost.Host
	files map[string]string
}

func (o overlay) ReadFile(p string) ([]byte, error) {
	if text, ok := o.files[p]; ok {
		return []byte(text), nil
	}
	return o.Host.ReadFile(p)
}

func (o overlay) Stat(p string) (fs.FileInfo, error) {
	if _, ok := o.files[p]; ok {
		p = pfDir + "/vendor"
	}
	return o.Host.Stat(p)
}

func (o overlay) WriteFile(p string, data []byte) error {
	if _, ok := o.files[p]; ok {
		return nil
	}
	return o.Host.WriteFile(p, data)
}

func (s setup) findOn(t *testing.T, sys host.System) *xe.PF {
	t.Helper()
	pf, err := xe.FindPF(host.New(sys).Tree(s.log), xe.Selector{})
	if err != nil {
		t.Fatal(err)
	}
	return pf
}

// TestPolicies changes every setting and reads it back.
func TestPolicies(t *testing.T) {
	for name, o := range map[string]fakehost.Options{"tree": fakehost.BMG(), "flat": flat(fakehost.BMG())} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s := newSetup(t, o)
			first := s.Snapshot()
			pf := s.find(t)
			want := vgpu.Thresholds{CATError: 1, EngineReset: 2, PageFault: 3, GuCTime: 4, IRQTime: 5, DoorbellTime: 6}
			slice := vgpu.TimeSlice{Quantum: 10, Timeout: 20000}
			q := vgpu.Resources{GGTT: 1 << 20, VRAM: 2 << 20, Contexts: 10, Doorbells: 1}
			plan := vgpu.Plan{
				VFs: 1, Quota: &q, Scheduling: vgpu.Scheduling{VF: slice, ScheduleIfIdle: true},
				Security: vgpu.Security{ResetAfterSwitch: true, SamplePeriod: 9},
			}
			if err := pf.Provision(ctx, plan); err != nil {
				t.Fatal(err)
			}
			for _, fn := range []int{0, 1} {
				if err := pf.SetThresholds(ctx, fn, want); err != nil {
					t.Fatal(err)
				}
			}
			for _, gt := range pf.GTs {
				if p, err := pf.Policies(gt); err != nil || p != (xe.Policies{
					ResetEngine: true, SchedIfIdle: true, SamplePeriod: 9,
				}) {
					t.Errorf("Policies: %+v, %v", p, err)
				}
				for fn := range 3 {
					got, err := thresholds(s, o, fn, gt)
					if fn == 2 {
						want = vgpu.Thresholds{}
					}
					if got != want || err != nil {
						t.Errorf("Thresholds of %d: %+v, %v", fn, got, err)
					}
				}
				want = vgpu.Thresholds{
					CATError: 1, EngineReset: 2, PageFault: 3, GuCTime: 4, IRQTime: 5, DoorbellTime: 6,
				}
			}
			for fn, wantSlice := range []vgpu.TimeSlice{{}, slice, {}} {
				if got, err := pf.Scheduler.TimeSlice(fn); err != nil || got != wantSlice {
					t.Errorf("TimeSlice of %d: %s, %v", fn, got, err)
				}
				if got, err := pf.Scheduler.Priority(fn); err != nil || got != xe.Normal {
					t.Errorf("Priority of %d: %s, %v", fn, got, err)
				}
			}
			if err := s.log.Undo(ctx, s.Host); err != nil {
				t.Error(err)
			}
			if s.Snapshot() != first {
				t.Error(cmp.Diff(s.FromSnapshot(first).Dump(), s.Dump()))
			}
		})
	}
}

// thresholds returns the thresholds of a function on a GT.
func thresholds(s setup, o fakehost.Options, fn int, gt xe.GT) (vgpu.Thresholds, error) {
	function := "pf"
	if fn > 0 {
		function = fmt.Sprintf("vf%d", fn)
	}
	dir := fmt.Sprintf(dri+"/sriov/%s/tile%d/gt%d", function, gt.Tile, gt.ID)
	if o.Flat {
		dir = fmt.Sprintf(dri+"/gt%d/%s", gt.ID, function)
	}
	var t vgpu.Thresholds
	for _, c := range t.Counters() {
		text, err := s.ReadFile(dir + "/threshold_" + c.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // only newer kernels have this threshold
		}
		if err != nil {
			return t, err
		}
		if *c.Value, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err != nil {
			return t, err
		}
	}
	return t, nil
}

// TestGTsDisagree: a setting that differs between GTs gives EUCLEAN, until Provision makes it the
// same on all.
func TestGTsDisagree(t *testing.T) {
	for name, o := range map[string]fakehost.Options{"tree": fakehost.BMG(), "flat": flat(fakehost.BMG())} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, o)
			dir := dri + "/sriov/pf/tile0/gt1"
			if o.Flat {
				dir = dri + "/gt1/pf"
			}
			s.write(t, dir+"/exec_quantum_ms", "5")
			s.write(t, dir+"/sched_if_idle", "1")
			pf := s.find(t)
			if got, err := pf.Scheduler.TimeSlice(0); !errors.Is(err, syscall.EUCLEAN) {
				t.Errorf("TimeSlice: %s, %v", got, err)
			}
			for fn := range 2 {
				if got, err := pf.Scheduler.Priority(fn); !errors.Is(err, syscall.EUCLEAN) {
					t.Errorf("Priority: %s, %v", got, err)
				}
			}
			if err := pf.Provision(t.Context(), vgpu.Auto(1)); err != nil {
				t.Fatal(err)
			}
			for fn := range 2 {
				got, err := pf.Scheduler.Priority(fn)
				slice, err2 := pf.Scheduler.TimeSlice(fn)
				if errors.Join(err, err2) != nil || got != xe.Low || slice != (vgpu.TimeSlice{}) {
					t.Errorf("after Provision: %s, %s, %v, %v", got, slice, err, err2)
				}
			}
		})
	}
}

// TestPriorityNotTaken: after the bulk write, the priority of every function is read back.
func TestPriorityNotTaken(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	pf := s.find(t)
	s.Hook = func(path, _ string, done bool) error {
		if strings.HasSuffix(path, ".bulk_profile/sched_priority") && done {
			return s.WriteFile(pfDir+"/sriov_admin/pf/profile/sched_priority", []byte("high"))
		}
		return nil
	}
	plan := vgpu.Auto(1)
	plan.Scheduling.ScheduleIfIdle = true
	err := pf.Provision(t.Context(), plan)
	const admin = pfDir + "/sriov_admin"
	const says = "write normal to " + admin + "/.bulk_profile/sched_priority: " +
		admin + "/pf/profile/sched_priority then reads high"
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("Provision: %v", err)
	}
}

// TestSetVRAM: SetVRAM uses sysfs if it has the file, so that provisioning stays automatic.
func TestSetVRAM(t *testing.T) {
	ctx := t.Context()
	for name, o := range map[string]fakehost.Options{"tree": fakehost.BMG(), "flat": flat(fakehost.BMG())} {
		t.Run(name, func(t *testing.T) {
			_, pf := enabled(t, o)
			if err := pf.Quotas.SetVRAM(ctx, 2, 5<<20); err != nil {
				t.Fatal(err)
			}
			if q, err := pf.Quotas.Of(2); err != nil || q.VRAM != 6<<20 {
				t.Errorf("Quota: %+v, %v", q, err)
			}
			if err := pf.Quotas.SetVRAM(ctx, 9, 5<<20); !isUsage(err) {
				t.Errorf("SetVRAM: %v", err)
			}
		})
	}
	_, none := enabled(t, ptlAtBMG())
	if err := none.Quotas.SetVRAM(ctx, 1, 1<<20); !errors.Is(err, bench.ErrNotAvailable) {
		t.Errorf("SetVRAM: %v", err)
	}
	s := newSetup(t, fakehost.BMG())
	file := pfDir + "/sriov_admin/vf1/profile/vram_quota"
	pf := s.findOn(t, overlay{s.Host, map[string]string{file: "6291456\n"}})
	if err := pf.Quotas.SetVRAM(ctx, 1, 5<<20); err != nil {
		t.Errorf("SetVRAM to what it is: %v", err)
	}
	err := pf.Quotas.SetVRAM(ctx, 1, 0)
	if err == nil || !strings.Contains(err.Error(), "write 0 to "+file+": the file then reads 6291456, not 0") {
		t.Errorf("SetVRAM: %v", err)
	}
}

func TestSetQuotaRefused(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	before := s.Snapshot()
	pf := s.find(t)
	for _, c := range []struct {
		vf   int
		r    vgpu.Resources
		says string
	}{
		{0, vgpu.Resources{GGTT: 4096}, "VF 0: card1 (0000:03:00.0) has VFs 1 to 6"},
		{7, vgpu.Resources{GGTT: 4096}, "VF 7"},
		{1, vgpu.Resources{GGTT: 4 << 30}, "must be less than 4 GiB"},
		{1, vgpu.Resources{GGTT: 4<<30 - 1}, "must be less than 4 GiB"},
		{1, vgpu.Resources{GGTT: 1<<64 - 1}, "must be less than 4 GiB"},
	} {
		if err := pf.Quotas.Set(t.Context(), c.vf, c.r); !isUsage(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("SetQuota(%d, %+v): %v", c.vf, c.r, err)
		}
	}
	if s.Snapshot() != before {
		t.Error("something was written")
	}
}

// TestNothingToTell: without debugfs, every question about it returns ErrNotAvailable.
func TestNothingToTell(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	pf := s.findOn(t, noDebugfs{s.Host})
	gt := pf.GTs[0]
	for name, ask := range map[string]func() (any, error){
		"Limits": func() (any, error) { return pf.Limits() }, "Mode": func() (any, error) { return pf.Mode() },
		"Versions":      func() (any, error) { return pf.Versions() },
		"AvailableGGTT": func() (any, error) { return pf.AvailableGGTT(0) },
		"AdverseEvents": func() (any, error) { return pf.AdverseEvents(gt) },
		"Policies":      func() (any, error) { return pf.Policies(gt) },
		"Quota":         func() (any, error) { return pf.Quotas.Of(1) },
		"Spare":         func() (any, error) { return pf.Quotas.Spare() },
		"SetThresholds": func() (any, error) {
			return nil, pf.SetThresholds(
				t.Context(), 1, vgpu.Thresholds{CATError: 1},
			)
		},
	} {
		if v, err := ask(); !errors.Is(err, bench.ErrNotAvailable) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	if slice, err := pf.Scheduler.TimeSlice(1); err != nil || slice != (vgpu.TimeSlice{}) {
		t.Errorf("TimeSlice, which sysfs has: %s, %v", slice, err)
	}
}

// TestSummary: a summary has all that the host offers, in both layouts and without debugfs.
func TestSummary(t *testing.T) {
	for name, o := range map[string]fakehost.Options{"tree": fakehost.BMG(), "flat": flat(fakehost.BMG()), "no IOMMU": {
		Bus: 3, Device: 0xe20b, Card: 1, TotalVFs: 2, GTs: 1, NoIOMMU: true,
	}} {
		t.Run(name, func(t *testing.T) {
			_, pf := enabled(t, o)
			s, err := pf.Summary()
			if err != nil || len(s.Problems) > 0 {
				t.Fatal(s, err)
			}
			vf := s.Functions[len(s.Functions)-1]
			if len(s.Functions) != 3 || vf.VF != 2 || vf.Quota == nil || vf.Quota.GGTT == 0 || *vf.Priority != xe.Low ||
				len(s.GTs) != o.GTs || s.GTs[0].Policies == nil {
				t.Errorf("%+v", s)
			}
			if (vf.IOMMUGroup == nil) != o.NoIOMMU || vf.Address != "0000:03:00.2" || s.TotalVFs != o.TotalVFs ||
				s.IDs != "8086:e20b" {
				t.Errorf("%+v", s)
			}
		})
	}
	s, _ := enabled(t, fakehost.BMG())
	sum, err := s.findOn(t, noDebugfs{s.Host}).Summary()
	if err != nil || len(sum.Problems) > 0 || sum.Spare != nil || sum.GGTT != nil || sum.Functions[1].Quota != nil ||
		sum.Functions[1].TimeSlice == nil {
		t.Errorf("without debugfs: %+v, %v", sum, err)
	}
}
