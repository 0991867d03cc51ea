package robust

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"vmtb/bench/vm"
	"vmtb/bench/work"
	"vmtb/bench/xe"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

func addNeighbours(r *flow.Registry) {
	flow.Add(
		r, file,
		class("TestNeighbours", "A machine works undisturbed while its neighbour is reset, reloaded or killed.",
			[]fixture.Config{auto(2)},
			flow.Case[*fixture.Setup]{
				Name: "test_flr", Doc: "The neighbour's VF is reset (FLR), and works again.", Func: testFLR,
			},
			flow.Case[*fixture.Setup]{
				Name: "test_pf_reset", Doc: "The PF is not reset while VFs are in use.", Func: testPFReset,
			},
			flow.Case[*fixture.Setup]{
				Name: "test_reload", Doc: "The neighbour's driver is unloaded and loaded again, three times.",
				Func: testReload,
			},
			flow.Case[*fixture.Setup]{
				Name: "test_kill", Doc: "The neighbour is killed (SIGKILL), and another machine gets its VF.",
				Func: testKill,
			},
		),
	)
}

// roundRepeats is a number of repetitions of [work.Preemptible]. They take 10 ms each on an idle
// GPU, 5 s in all.
const roundRepeats = 500

// beside runs steps, which act on the second machine, while the first machine works in rounds. Each
// round must pass.
func beside(ctx context.Context, t *flow.T, s *fixture.Setup, steps fixture.Steps) {
	w, err := s.Wsim(ctx, s.VMs[0], work.Preemptible, roundRepeats)
	fixture.Require(t, err)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- rounds(ctx, t, s, fixture.Job{Machine: s.VMs[0], Workload: w}, stop) }()
	steps.Run(ctx, t)
	close(stop)
	fixture.Steps{{"wait until the first machine's workload ends", func(context.Context) error { return <-ended }}}.Run(
		ctx, t,
	)
}

// rounds runs a job again and again. It returns when the job fails, or at the end of a round after
// stop is closed.
func rounds(ctx context.Context, t *flow.T, s *fixture.Setup, j fixture.Job, stop <-chan struct{}) error {
	for n := 1; ; n++ {
		if err := s.PassesAll(ctx, t.Env(), j); err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		select {
		case <-stop:
			t.Logf("%v: %d rounds of %v", j.Machine, n, j.Workload)
			return nil
		default:
		}
	}
}

func testFLR(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[1]
	beside(ctx, t, s, fixture.Steps{{fmt.Sprintf("reset the VF of %v", m), func(ctx context.Context) error {
		vf, err := fixture.GuestVF(ctx, m, s.GuestDriver)
		if err != nil {
			return err
		}
		return vf.Reset(ctx)
	}}})
	s.Works(ctx, t, m)
}

func testPFReset(ctx context.Context, t *flow.T, s *fixture.Setup) {
	if err := s.PF.Device.Reset(ctx); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("a reset of %s with VFs in use: %v, want EBUSY", s.PF.Address, err)
	}
	s.Works(ctx, t, s.VMs[0], s.VMs[1])
}

// reloads is the number of driver reloads.
const reloads = 3

func testReload(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[1]
	var steps fixture.Steps
	for i := range reloads {
		steps = append(
			steps,
			fixture.Steps{
				{fmt.Sprintf("unload and load %s in %v (%d of %d)", s.GuestDriver, m, i+1, reloads), func(
					ctx context.Context,
				) error {
					if err := errors.Join(
						fixture.Unload(ctx, m, s.GuestDriver), fixture.Load(ctx, m, s.GuestDriver),
					); err != nil {
						return err
					}
					return xe.CheckDriver(ctx, m, s.GuestDriver)
				}},
			}...,
		)
	}
	beside(ctx, t, s, steps)
	s.Works(ctx, t, m)
}

func testKill(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[1]
	var next *vm.VM
	beside(ctx, t, s, fixture.Steps{
		{fmt.Sprintf("kill %v", m), m.Power().Kill},
		{"boot another machine with its VF", func(ctx context.Context) (err error) {
			next, err = s.Boot(ctx, "vm2", 1)
			return err
		}},
	})
	s.VMs[1] = next
	s.Works(ctx, t, next)
}
