package migration

import (
	"context"
	"fmt"
	"time"

	"vmtb/bench/work"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/vmm_flows/fixture"
)

func addPauseResume(r *flow.Registry) {
	c := fixture.Config{VFs: 2, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite}
	add(r, "", "", []scenario{{Config: c, bare: true}}, flow.Case[*bed]{
		Name: "test_2vm_pause_resume",
		Doc:  "A machine at work is paused while its neighbour works; after the resume it finishes in time.",
		Func: testPauseResume,
	})
}

// pausedSlice is a short time slice: the GPU switches away from the first VF soon.
var pausedSlice = vgpu.TimeSlice{Quantum: 1, Timeout: 100}

const (
	pausedCycle   = 10 * time.Millisecond // one repetition of work.Preemptible
	pausedRepeats = 3000
	// Limits for the work of the paused machine, as fractions of its time on an idle GPU. The
	// measured time includes the time in which both machines work, but not the pause.
	leastTime, mostTime = 0.8, 1.5
)

func testPauseResume(ctx context.Context, t *flow.T, b *bed) {
	first, neighbour := b.VMs[0], b.VMs[1]
	w, err := b.Wsim(ctx, first, work.Preemptible, pausedRepeats)
	fixture.Require(t, err)
	spin, err := b.IGT(ctx, neighbour, work.SpinBatch)
	fixture.Require(t, err)
	before, err := b.PF.Scheduler.TimeSlice(1)
	fixture.Require(t, err)
	fixture.Steps{
		{
			"set VF1 to " + pausedSlice.String(),
			func(ctx context.Context) error { return b.PF.Scheduler.SetTimeSlice(ctx, 1, pausedSlice) },
		},
	}.Run(ctx, t)
	run := b.BeginOn(ctx, t, b.vm(), w)
	fixture.Steps{
		{"check that the workload runs", func(ctx context.Context) error { return fixture.AtWork(ctx, run) }},
		{"pause the machine", first.Power().Pause},
		{fmt.Sprintf("%v on %v meanwhile", spin, neighbour), func(ctx context.Context) error {
			return b.PassesAll(ctx, t.Env(), fixture.Job{Machine: neighbour, Workload: spin})
		}},
		{"resume the machine", first.Power().Resume},
		{
			"set VF1 back to " + before.String(),
			func(ctx context.Context) error { return b.PF.Scheduler.SetTimeSlice(ctx, 1, before) },
		},
		{"wait until the workload ends", func(ctx context.Context) error { return b.inTime(ctx, t, run) }},
	}.Run(ctx, t)
}

// inTime returns an error unless the work of the paused machine took the expected time.
func (b *bed) inTime(ctx context.Context, t *flow.T, run *work.Run) error {
	results, err := b.End(ctx, run)
	if err != nil {
		return err
	}
	if err := results[0].Err(); err != nil {
		return fmt.Errorf("%v: %w", run, err)
	}
	alone := time.Duration(b.Repeats(pausedRepeats)) * pausedCycle
	took := results[0].Wsim.Elapsed
	t.Logf("%v took %s, and %s alone on an idle GPU", run, prose.Exact(took), prose.Exact(alone))
	if r := took.Seconds() / alone.Seconds(); r < leastTime || r > mostTime {
		return fmt.Errorf("%v took %s, which is %.2f of its time on an idle GPU: want %v to %v",
			run, prose.Exact(took), r, leastTime, mostTime)
	}
	return nil
}
