package basic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vmtb/bench/vm"
	"vmtb/bench/work"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/vmm_flows/fixture"
)

func addDriverLoadRemove(r *flow.Registry) {
	flow.Add(r, file, flow.Class[fixture.Config, *fixture.Setup]{
		Name: "TestVfDriverLoadRemove",
		Doc:  "One machine loads and unloads its driver while its neighbour works.",
		Params: []fixture.Config{
			{VFs: 2, MaxVMs: 4, Provisioning: fixture.Profile, Scheduling: vgpu.DefaultProfile, ManualDriver: true},
			{VFs: 4, MaxVMs: 4, Provisioning: fixture.Profile, Scheduling: vgpu.DefaultProfile, ManualDriver: true},
		},
		Fixture: fixture.Machines,
		Needs:   []flow.Need[fixture.Config]{fixture.GuestImage, fixture.EnoughVFs, fixture.ProfileAvailable},
		Timeout: 5 * time.Minute,
		Cases: []flow.Case[*fixture.Setup]{
			{
				Name: "test_load", Doc: "The last machine loads its driver while the first machine works.",
				Func: testLoad,
			},
			{
				Name: "test_reload",
				Doc:  "The first machine unloads its driver, loads it again and works, while the last machine works.",
				Func: testReload,
			},
		},
	})
}

// neighbourRepeats is a number of repetitions of [work.Preemptible]. They take 10 ms each on an
// idle GPU, 30 s in all.
const neighbourRepeats = 3000

// Durations of parts of the tests, before --workload-scale.
const (
	aheadOfLoad = 2 * time.Second // a neighbour works this long before a driver is loaded
	unloaded    = 3 * time.Second // a VF stays without a driver this long
)

func testLoad(ctx context.Context, t *flow.T, s *fixture.Setup) {
	first, last := s.VMs[0], s.VMs[len(s.VMs)-1]
	ensureLoaded(ctx, t, s, first)
	neighbour := begin(ctx, t, s, first)
	fixture.Steps{
		{"run the workload alone", func(ctx context.Context) error { return s.LetPass(ctx, aheadOfLoad) }},
		{"check that the workload runs", func(ctx context.Context) error { return fixture.AtWork(ctx, neighbour) }},
		{
			fmt.Sprintf("load %s in %v", s.GuestDriver, last),
			func(ctx context.Context) error { return fixture.Load(ctx, last, s.GuestDriver) },
		},
		{"find its VF", func(ctx context.Context) error { return xe.CheckDriver(ctx, last, s.GuestDriver) }},
	}.Run(ctx, t)
	undisturbed(ctx, t, s, neighbour)
}

func testReload(ctx context.Context, t *flow.T, s *fixture.Setup) {
	first, last := s.VMs[0], s.VMs[len(s.VMs)-1]
	ensureLoaded(ctx, t, s, first)
	ensureLoaded(ctx, t, s, last)
	job := store(ctx, t, s, first)
	neighbour := begin(ctx, t, s, last)
	fixture.Steps{
		{"check that the workload runs", func(ctx context.Context) error { return fixture.AtWork(ctx, neighbour) }},
		{
			fmt.Sprintf("unload %s in %v", s.GuestDriver, first),
			func(ctx context.Context) error { return fixture.Unload(ctx, first, s.GuestDriver) },
		},
		{"leave the VF without a driver", func(ctx context.Context) error { return s.LetPass(ctx, unloaded) }},
		{
			fmt.Sprintf("load %s in %v", s.GuestDriver, first),
			func(ctx context.Context) error { return fixture.Load(ctx, first, s.GuestDriver) },
		},
		{"find its VF", func(ctx context.Context) error { return xe.CheckDriver(ctx, first, s.GuestDriver) }},
		{
			fmt.Sprintf("exec_store in %v", first),
			func(ctx context.Context) error { return s.PassesAll(ctx, t.Env(), job) },
		},
	}.Run(ctx, t)
	undisturbed(ctx, t, s, neighbour)
}

// ensureLoaded loads the guest driver unless another case has loaded it.
func ensureLoaded(ctx context.Context, t *flow.T, s *fixture.Setup, m *vm.VM) {
	loaded, err := fixture.Loaded(ctx, m, s.GuestDriver)
	if err != nil {
		t.Fatal(err)
	}
	if loaded {
		return
	}
	load := fmt.Sprintf("load %s in %v, which then runs a workload", s.GuestDriver, m)
	fixture.Steps{{load, func(ctx context.Context) error {
		return fixture.Load(ctx, m, s.GuestDriver)
	}}}.Run(ctx, t)
}

// begin starts the neighbour's work, which must stay undisturbed, on m.
func begin(ctx context.Context, t *flow.T, s *fixture.Setup, m *vm.VM) *work.Run {
	w, err := s.Wsim(ctx, m, work.Preemptible, neighbourRepeats)
	fixture.Require(t, err)
	return s.BeginOn(ctx, t, m, w)
}

// undisturbed waits for the neighbour's work. It fails the case if the work took longer or shorter
// than on an idle GPU.
func undisturbed(ctx context.Context, t *flow.T, s *fixture.Setup, r *work.Run) {
	results, err := s.End(ctx, r)
	if err == nil {
		err = results[0].Err()
	}
	if err == nil {
		if complaint := disturbed(*results[0].Wsim, s.Repeats(neighbourRepeats)); complaint != "" {
			err = errors.New(complaint)
		}
	}
	if err != nil {
		t.Fatalf("%v: %v", r, err)
	}
	t.Logf("%v: %s, %.3f workloads/s", r, prose.Exact(results[0].Wsim.Elapsed), results[0].Wsim.Rate)
}
