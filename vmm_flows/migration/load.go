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

// look is how much work of a scale below 1 is left when a machine is saved, as far as a normal
// amount would leave it: so long may it take until somebody sees that the restored machine is at
// work.
const look = 5 * time.Second

// amount is how much work of a normal amount is given, scaled: if that is less than normal, enough
// to be there still when the machine is restored.
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

// tries is how often what is short is run to see how long it takes: igt_runner needs longer from
// one test to the next than many a test says that it took.
const tries = 11

func (i igt) prepare(ctx context.Context, t *flow.T, s *fixture.Setup, m *vm.VM) work.Workload {
	w, err := s.IGT(ctx, m, work.TestType(i))
	fixture.Require(t, err)
	took := func(ctx context.Context, times int) (time.Duration, error) {
		w.Repeat = times
		start := time.Now()
		err := s.PassesAll(ctx, t.Env(), fixture.Job{Machine: m, Workload: w})
		return time.Since(start), err
	}
	fixture.Steps{{fmt.Sprintf("try how long %v takes", w), func(ctx context.Context) error {
		once, err := took(ctx, 1)
		if err != nil || once >= amount(s, igtEnough) {
			return err
		}
		all, err := took(ctx, tries)
		w.Repeat = repeats((all-once)/(tries-1), amount(s, igtWork))
		return err
	}}}.Run(ctx, t)
	t.Logf("%v", w)
	return w
}

// repeats is how often what takes d is run until it takes as long as wanted.
func repeats(d, wanted time.Duration) int {
	return int(math.Floor(wanted.Seconds()/max(d.Seconds(), 0.01))) + 1
}
