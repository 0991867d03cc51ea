package robust

import (
	"context"
	"fmt"

	"vmtb/bench/work"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

func addScheduling(r *flow.Registry) {
	const doc = "The scheduling of VFs is changed while they work."
	flow.Add(r, file, class("TestScheduling", doc, []fixture.Config{auto(2)},
		flow.Case[*fixture.Setup]{
			Name: "test_change",
			Doc:  "Of two machines with the same work, the one with the larger share of the GPU finishes first.",
			Func: testChange,
		},
	))
}

// changeRepeats is a number of repetitions of [work.Preemptible]. They take 10 ms each on an idle
// GPU, 30 s in all.
const changeRepeats = 3000

// slices are the time slices of the two VFs while they work. The second VF gets three times the
// quantum.
var slices = []vgpu.TimeSlice{{Quantum: 10, Timeout: 20_000}, {Quantum: 30, Timeout: 60_000}}

func testChange(ctx context.Context, t *flow.T, s *fixture.Setup) {
	runs := make([]*work.Run, len(slices))
	for i, m := range s.VMs {
		w, err := s.Wsim(ctx, m, work.Preemptible, changeRepeats)
		fixture.Require(t, err)
		runs[i] = s.BeginOn(ctx, t, m, w)
	}
	for i, slice := range slices {
		fixture.Steps{
			{
				fmt.Sprintf("set VF%d to %v", i+1, slice),
				func(ctx context.Context) error { return s.PF.Scheduler.SetTimeSlice(ctx, i+1, slice) },
			},
			{"read the time slice back", func(ctx context.Context) error {
				got, err := s.PF.Scheduler.TimeSlice(i + 1)
				if err == nil && got != slice {
					err = fmt.Errorf("VF%d has %v, want %v", i+1, got, slice)
				}
				return err
			}},
		}.Run(ctx, t)
	}
	fixture.Steps{
		{
			"wait for the machine with the larger share",
			func(ctx context.Context) error { return s.Passes(ctx, runs[1]) },
		},
		{
			"check that the other workload still runs",
			func(ctx context.Context) error { return fixture.AtWork(ctx, runs[0]) },
		},
		{"wait until the other workload ends", func(ctx context.Context) error { return s.Passes(ctx, runs[0]) }},
	}.Run(ctx, t)
}
