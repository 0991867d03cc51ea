package xe_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/fake/fakehost"
)

const admin = pfDir + "/sriov_admin"

// slices returns the time slices of the PF and its first n VFs.
func slices(t *testing.T, pf *xe.PF, n int) string {
	t.Helper()
	var list []string
	for fn := 0; fn <= n; fn++ {
		s, err := pf.Scheduler.TimeSlice(fn)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%d/%d", s.Quantum, s.Timeout))
	}
	return strings.Join(list, " ")
}

// TestSlicesAsAsked: drivers of Linux 7.3 give VFs 16 ms in automatic mode. A plan with infinite
// slices overrides this.
func TestSlicesAsAsked(t *testing.T) {
	for _, c := range []struct {
		name string
		plan *vgpu.Plan
		want string
	}{
		{"no plan: the driver's", nil, "16/16000 16/16000 16/16000 0/0"},
		{"infinite", &vgpu.Plan{VFs: 2}, "0/0 0/0 0/0 0/0"},
		{
			"of a profile",
			&vgpu.Plan{
				VFs: 2,
				Scheduling: vgpu.Scheduling{
					PF: vgpu.TimeSlice{Quantum: 5, Timeout: 6}, VF: vgpu.TimeSlice{Quantum: 7, Timeout: 8},
				},
			},
			"5/6 7/8 7/8 0/0",
		},
		{
			"for the VFs only", &vgpu.Plan{VFs: 2, Scheduling: vgpu.Scheduling{VF: vgpu.TimeSlice{Quantum: 7}}},
			"0/0 7/0 7/0 0/0",
		},
		{
			"quotas",
			&vgpu.Plan{VFs: 2, Quota: &vgpu.Resources{GGTT: 1 << 24, VRAM: 1 << 30, Contexts: 64, Doorbells: 4}},
			"0/0 0/0 0/0 0/0",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSetup(t, fakehost.BMG())
			pf := s.find(t)
			if c.plan != nil {
				if err := pf.Provision(t.Context(), *c.plan); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := pf.EnableVFs(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			if got := slices(t, pf, 3); got != c.want {
				t.Errorf("the PF and VF1 to VF3 have %s, want %s", got, c.want)
			}
		})
	}
}

// TestPFIsPutBack: undo also restores the PF's settings that change when VFs are enabled and
// disabled.
func TestPFIsPutBack(t *testing.T) {
	for _, before := range []map[string]string{
		{},
		{admin + "/pf/profile/exec_quantum_ms": "20", admin + "/pf/profile/preempt_timeout_us": "40000"},
		{admin + "/pf/profile/sched_priority": "high"},
		{admin + "/.bulk_profile/sched_priority": "normal"},
	} {
		for _, use := range []struct {
			name string
			do   func(pf *xe.PF, s setup) error
		}{
			{"enable", func(pf *xe.PF, _ setup) error { _, err := pf.EnableVFs(t.Context(), 2); return err }},
			{"plan", func(pf *xe.PF, _ setup) error {
				_, err := pf.EnableVFs(t.Context(), 2)
				return errors.Join(pf.Provision(t.Context(), vgpu.Auto(2)), err)
			}},
			{"quota changed meanwhile", func(pf *xe.PF, _ setup) error {
				if err := pf.Provision(t.Context(), vgpu.Auto(2)); err != nil {
					return err
				}
				_, err := pf.EnableVFs(t.Context(), 2)
				return errors.Join(
					err,
					pf.Quotas.Set(t.Context(), 1, vgpu.Resources{
						GGTT: 1 << 20, VRAM: 1 << 21, Contexts: 10, Doorbells: 1,
					}),
				)
			}},
			{"enabling fails", func(pf *xe.PF, s setup) error {
				const spare = "/sys/kernel/debug/dri/0000:03:00.0/sriov/pf/tile0/gt0/doorbells_spare"
				if err := s.WriteFile(spare, []byte("256")); err != nil {
					return err
				}
				const restore = "/sys/kernel/debug/dri/0000:03:00.0/sriov/restore_auto_provisioning"
				if err := s.WriteFile(restore, []byte("1")); err != nil {
					return err
				}
				_, err := pf.EnableVFs(t.Context(), 2)
				if !errors.Is(err, syscall.ENOSPC) {
					return fmt.Errorf("EnableVFs: %w", err)
				}
				return s.WriteFile("/sys/kernel/debug/dri/0000:03:00.0/sriov/pf/tile0/gt0/doorbells_spare", []byte("0"))
			}},
		} {
			s := newSetup(t, fakehost.BMG())
			for file, value := range before {
				if err := s.WriteFile(file, []byte(value)); err != nil {
					t.Fatal(err)
				}
			}
			want := s.Dump()
			if err := use.do(s.find(t), s); err != nil {
				t.Fatalf("%s, %v: %v", use.name, before, err)
			}
			if err := s.log.Undo(t.Context(), s.Host); err != nil {
				t.Fatalf("%s, %v: %v", use.name, before, err)
			}
			got := s.Dump()
			for file := range want {
				if strings.HasPrefix(file, "/sys/devices/pci0000:00/0000:03:00.0/sriov_admin/") &&
					got[file] != want[file] {
					t.Errorf("%s, %v: %s is %q, was %q", use.name, before, file, got[file], want[file])
				}
			}
		}
	}
}

// TestResetTakesVRAM: Provision clears local memory that sysfs gave to one VF. In automatic mode,
// the driver would give none to the others.
func TestResetTakesVRAM(t *testing.T) {
	o := fakehost.BMG()
	o.VRAMQuota = true
	for _, provision := range []bool{true, false} {
		s := newSetup(t, o)
		if err := s.WriteFile(admin+"/vf1/profile/vram_quota", []byte("1073741824")); err != nil {
			t.Fatal(err)
		}
		pf := s.find(t)
		if provision {
			if err := pf.Provision(t.Context(), vgpu.Auto(2)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := pf.EnableVFs(t.Context(), 2)
		if provision && err != nil || !provision &&
			(err == nil || !strings.Contains(err.Error(), "echo 0 > "+admin+"/.bulk_profile/vram_quota")) {
			t.Errorf("EnableVFs after Provision %v: %v", provision, err)
		}
	}
}

// TestLocked: if the driver is locked against VFs, the error names the cause.
func TestLocked(t *testing.T) {
	for file, says := range map[string]string{
		"":                        "lockdown_vfs_enabling",
		pfDir + "/enable_eudebug": "the EU debugger is enabled: echo 0 > " + pfDir + "/enable_eudebug",
		pfDir + "/tile0/gt0/ccs_mode": "a compute mode other than the default prevents VFs: " +
			"echo 1 > " + pfDir + "/tile0/gt0/ccs_mode",
	} {
		s := newSetup(t, fakehost.BMG())
		s.Lockdown = true
		value := "1\n"
		if strings.HasSuffix(file, "ccs_mode") {
			value = "4\n"
		}
		pf := s.findOn(t, overlay{s.Host, map[string]string{file: value}})
		if _, err := pf.EnableVFs(t.Context(), 1); !errors.Is(err, syscall.EPERM) ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
