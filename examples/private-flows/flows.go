package main

import (
	"context"
	"time"

	"vmtb/bench/work"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

// Register adds our own flows. Their file name is the first part of their ids.
func Register(r *flow.Registry) {
	const file = "acme"
	// vmtb's own flows use the same set-up. It enables VFs, boots machines with them, loads drivers, and
	// undoes all of this at the end.
	flow.Add(r, file, flow.Class[fixture.Config, *fixture.Setup]{
		Name: "TestClock", Doc: "A machine's clock is right.", Own: true,
		Params:  []fixture.Config{{VFs: 1, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite}},
		Fixture: fixture.Machines,
		Needs:   []flow.Need[fixture.Config]{fixture.GuestImage, fixture.EnoughVFs},
		Timeout: time.Minute,
		Cases: []flow.Case[*fixture.Setup]{
			{Name: "test_clock", Doc: "It is off the host's by a few seconds at most, also after a pause.", Func: testClock},
		},
	})
	flow.Add(r, file, flow.Class[fixture.Config, *fixture.Setup]{
		Name: "TestWork", Doc: "A machine gives work to its VF.", Own: true,
		Params:  []fixture.Config{{VFs: 1, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite}},
		Fixture: fixture.Machines,
		Needs:   []flow.Need[fixture.Config]{fixture.GuestImage, fixture.EnoughVFs},
		Timeout: 5 * time.Minute,
		Cases:   []flow.Case[*fixture.Setup]{{Name: "test_work", Doc: "IGT's exec_store and gem_wsim pass.", Func: testWork}},
	})
	flow.Add(r, file, flow.Class[fixture.Config, *fixture.Setup]{
		Name: "TestHostReboot", Doc: "VFs do not outlive the host. \"vmtb resume\" goes on when it is back.", Own: true,
		Params:  []fixture.Config{{VFs: 2, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite}},
		Fixture: fixture.VFs,
		Needs:   []flow.Need[fixture.Config]{fixture.EnoughVFs},
		Cases: []flow.Case[*fixture.Setup]{
			{Name: "test_reboot", Doc: "The host reboots; its VFs can be enabled as before.", Func: testReboot},
		},
	})
}

// mostOff is the greatest allowed difference between the clocks of host and guest.
const mostOff = 5 * time.Second

func testClock(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[0]
	fixture.Steps{
		{Name: "pause the machine", Do: m.Power().Pause},
		{Name: "let time pass", Do: func(ctx context.Context) error { return s.LetPass(ctx, time.Second) }},
		{Name: "let it go on", Do: m.Power().Resume},
	}.Run(ctx, t)
	now, err := m.Agent().Time(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Since(now).Abs(); off > mostOff {
		t.Errorf("%v: its clock is off by %v, more than %v", m, off, mostOff)
	}
}

func testWork(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[0]
	store, err := s.IGT(ctx, m, work.ExecStore)        // igt_runner with one test
	fixture.Require(t, err)                            // skips the case if the guest lacks the programs
	wsim, err := s.Wsim(ctx, m, work.Preemptible, 100) // gem_wsim: 100 times 10 ms of work
	fixture.Require(t, err)
	for _, w := range []work.Workload{store, wsim} {
		results, err := s.Do(ctx, t.Env(), fixture.Job{Machine: m, Workload: w})
		if err != nil {
			t.Fatal(err) // an error of the bench or of the guest; the kind of the error tells which
		}
		if err := results[0].Err(); err != nil {
			t.Errorf("%v: %v: %v", m, w, err) // the workload has failed: the flow's result is a failure
		}
	}
}

// back is the mark of the case after the reboot: the case then starts again with a new set-up.
const back = "back"

func testReboot(ctx context.Context, t *flow.T, s *fixture.Setup) {
	if t.Mark() == "" {
		t.Logf("%d VFs are enabled", len(s.VFs))
		t.Reboot(ctx, back) // does not return
	}
	n, err := s.PF.NumVFs()
	if err != nil {
		t.Fatal(err)
	}
	if n != s.Config.VFs {
		t.Errorf("after the reboot %d VFs are enabled, want %d", n, s.Config.VFs)
	}
}
