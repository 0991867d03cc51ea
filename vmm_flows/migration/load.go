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

// Times that the flows test, before --workload-scale.
const (
	beforeSave   = 6 * time.Second // a machine works this long before it is saved
	afterRestore = 3 * time.Second // a restored machine works this long before it is checked again
	wsimWork     = 20 * time.Second
	igtEnough    = 8 * time.Second  // an IGT test of this length runs once
	igtWork      = 12 * time.Second // a shorter test is repeated until it takes this long
)

// look bounds the time from the restore until a flow has seen that the machine works. Work with a
// scale below 1 must have this much left at the save, unless the normal amount has less left.
const look = 5 * time.Second

// amount returns the amount of work for a normal amount, scaled by --workload-scale. A scale below
// 1 still leaves enough work for the check of the restored machine.
func amount(s *fixture.Setup, normal time.Duration) time.Duration {
	scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) * s.Bench.WorkloadScale) }
	return max(scaled(normal), min(normal, scaled(beforeSave)+look))
}

// A load is the work of a machine. String is its part of the id.
type load interface {
	fmt.Stringer
	// prepare returns a workload for the machine m. It skips the case if the machine lacks a
	// program for it.
	prepare(ctx context.Context, t *flow.T, s *fixture.Setup, m *vm.VM) work.Workload
}

// A wsim is gem_wsim with a descriptor. Clients and repeats are chosen so that it takes [wsimWork].
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

// An igt is an IGT test. prepare measures its duration and repeats a short test.
type igt work.TestType

func (i igt) String() string { return work.TestType(i).String() }

// tries is the number of runs that measure the duration of a short test. igt_runner spends more
// time between two tests than many tests take.
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
	fixture.Steps{{fmt.Sprintf("measure how long %v takes", w), func(ctx context.Context) error {
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

// repeats returns how often a test of duration d must run to take at least the time wanted.
func repeats(d, wanted time.Duration) int {
	return int(math.Floor(wanted.Seconds()/max(d.Seconds(), 0.01))) + 1
}
