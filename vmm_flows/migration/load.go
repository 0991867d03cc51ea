package migration

import (
	"context"
	"fmt"
	"math"
	"time"

	"vmtb/bench/vm"
	"vmtb/bench/work"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

// Times that are part of what the flows test, scaled by --workload-scale.
const (
	beforeSave   = 6 * time.Second // a machine works for so long before it is saved
	afterRestore = 3 * time.Second // and for so long before it is looked at again
	wsimWork     = 20 * time.Second
	igtEnough    = 8 * time.Second  // a test of IGT that takes so long is run once
	igtWork      = 12 * time.Second // shorter ones are repeated until they take so long
)

// look is how much work of a scale below 1 is left when a machine is saved, as far as a normal amount would leave it: so long
// may it take until somebody sees that the restored machine is at work.
const look = 5 * time.Second

// amount is how much work of a normal amount is given, scaled: if that is less than normal, enough to be there still when the
// machine is restored.
func amount(s *fixture.Setup, normal time.Duration) time.Duration {
	scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) * s.Bench.WorkloadScale) }
	return max(scaled(normal), min(normal, scaled(beforeSave)+look))
}

// A load is what a machine does. String is its part of the id.
type load interface {
	fmt.Stringer
	// prepare makes a workload for a machine of it. It skips the case if the machine lacks what it takes.
	prepare(ctx context.Context, t *flow.T, s *fixture.Setup, m *vm.VM) work.Workload
}

// A wsim is gem_wsim with a descriptor that takes [wsimWork] in all, whatever it is made of.
type wsim struct {
	name             string
	clients, repeats int
}

func (w wsim) String() string { return fmt.Sprintf("%s-(C:%d R:%d)", w.name, w.clients, w.repeats) }

func (w wsim) prepare(ctx context.Context, t *flow.T, s *fixture.Setup, m *vm.VM) work.Workload {
	scale := amount(s, wsimWork).Seconds() / wsimWork.Seconds()
	workload, err := s.NamedWsim(ctx, m, w.name, w.clients, w.repeats, scale)
	fixture.Require(t, err)
	return workload
}

// An igt is one of IGT's tests, repeated if it is short: how long it takes is tried first.
type igt work.TestType

func (i igt) String() string { return work.TestType(i).String() }

func (i igt) prepare(ctx context.Context, t *flow.T, s *fixture.Setup, m *vm.VM) work.Workload {
	w, err := s.IGT(ctx, m, work.TestType(i))
	fixture.Require(t, err)
	fixture.Steps{{fmt.Sprintf("try how long %v takes", w), func(ctx context.Context) error {
		results, err := s.Do(ctx, t.Env(), fixture.Job{Machine: m, Workload: w})
		if err == nil {
			err = results[0].Err()
		}
		if err == nil {
			w.Repeat = repeats(results[0].IGT.Tests[0].Duration, amount(s, igtEnough), amount(s, igtWork))
		}
		return err
	}}}.Run(ctx, t)
	t.Logf("%v", w)
	return w
}

// repeats is how often what takes d is run: once if that is enough, else until it takes as long as wanted.
func repeats(d, enough, wanted time.Duration) int {
	if d >= enough {
		return 1
	}
	return int(math.Floor(wanted.Seconds()/max(d.Seconds(), 0.01))) + 1
}
