package basic

import (
	"context"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/work"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/vmm_flows/fixture"
)

func addVMWorkload(r *flow.Registry) {
	flow.Add(r, file, flow.Class[fixture.Config, *fixture.Setup]{
		Name: "TestVmWorkload",
		Doc:  "Machines run workloads on their VFs at the same time.",
		Params: []fixture.Config{
			{VFs: 1, Provisioning: fixture.Profile, Scheduling: vgpu.DefaultProfile},
			{VFs: 2, Provisioning: fixture.Profile, Scheduling: vgpu.DefaultProfile},
			{VFs: 4, Provisioning: fixture.Profile, Scheduling: vgpu.DefaultProfile},
		},
		Fixture: fixture.Machines,
		Needs:   []flow.Need[fixture.Config]{fixture.GuestImage, fixture.EnoughVFs, fixture.ProfileAvailable},
		Timeout: 5 * time.Minute,
		Cases: []flow.Case[*fixture.Setup]{
			{
				Name: "test_store", Doc: "IGT's exec_store passes on all machines at once, and then on the host.",
				Func: testStore,
			},
			{Name: "test_wsim", Doc: "Machines that work at once get equal shares of the GPU.", Func: testWsim},
		},
	})
}

func testStore(ctx context.Context, t *flow.T, s *fixture.Setup) {
	guests := make([]fixture.Job, len(s.VMs))
	for i, m := range s.VMs {
		guests[i] = store(ctx, t, s, m)
	}
	host := store(ctx, t, s, s.Host)
	for _, step := range []struct {
		name string
		jobs []fixture.Job
	}{{"exec_store in all machines", guests}, {"exec_store on the host", []fixture.Job{host}}} {
		err := t.Step(ctx, step.name, func(ctx context.Context) error {
			return s.PassesAll(ctx, t.Env(), step.jobs...)
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// store returns the job of IGT's exec_store on m. It skips the case if m does not have the test.
func store(ctx context.Context, t *flow.T, s *fixture.Setup, m bench.Machine) fixture.Job {
	w, err := s.IGT(ctx, m, work.ExecStore)
	fixture.Require(t, err)
	return fixture.Job{Machine: m, Workload: w}
}

// wsimRepeats is a number of repetitions of [work.Preemptible]. They take 10 ms each on an idle
// GPU, 10 s in all.
const wsimRepeats = 1000

// wsimAttempts is the number of attempts to start the machines close enough together to compare
// their shares.
const wsimAttempts = 3

func testWsim(ctx context.Context, t *flow.T, s *fixture.Setup) {
	if len(s.VMs) < 2 {
		t.Skipf("the case compares machines that work at the same time, and the flow has only one machine")
	}
	for attempt := 1; ; attempt++ {
		shares, apart := wsimAtOnce(ctx, t, s)
		complaints := unequal(shares, s.Repeats(wsimRepeats))
		if len(complaints) == 0 {
			return
		}
		err := startedApart(apart, shares, s.Repeats(wsimRepeats))
		switch {
		case err == nil:
			for _, complaint := range complaints {
				t.Errorf("%s", complaint)
			}
			return
		case attempt == wsimAttempts:
			t.Error(err, "\n"+strings.Join(complaints, "\n"))
			return
		}
		t.Logf("the case runs once more: %v", err)
	}
}

// wsimAtOnce runs gem_wsim on all machines at once. It returns their results, and how far apart the
// machines may have started.
func wsimAtOnce(ctx context.Context, t *flow.T, s *fixture.Setup) (shares []work.WsimResult, apart time.Duration) {
	jobs := make([]fixture.Job, len(s.VMs))
	for i, m := range s.VMs {
		w, err := s.Wsim(ctx, m, work.Preemptible, wsimRepeats)
		fixture.Require(t, err)
		jobs[i] = fixture.Job{Machine: m, Workload: w}
	}
	ready, err := s.Prepare(ctx, t.Env(), jobs...)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	runs, err := ready.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	apart = time.Since(start)
	results, err := s.End(ctx, runs...)
	if err != nil {
		t.Fatal(err)
	}
	for i, j := range jobs {
		r := results[i]
		if err := r.Err(); err != nil {
			t.Fatalf("%v: %v: %v", j.Machine, j.Workload, err)
		}
		t.Logf("%v: %s, %.3f workloads/s", j.Machine, prose.Exact(r.Wsim.Elapsed), r.Wsim.Rate)
		shares = append(shares, *r.Wsim)
	}
	return shares, apart
}
