package robust

import (
	"context"

	"vmtb/bench/vm"
	"vmtb/bench/work"
	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/vmm_flows/fixture"
)

func addLiveMigration(r *flow.Registry) {
	c := auto(2)
	c.MaxVMs = 1
	c.Moves = true
	class := class(
		"TestBusyLiveMigration", "A machine that works is live-migrated from one VF to another.", []fixture.Config{c},
		flow.Case[*fixture.Setup]{
			Name: "test_live", Doc: "The work continues on the other VF, and passes.", Func: testLive,
		},
	)
	class.Needs = append(class.Needs, fixture.Movable)
	flow.Add(r, file, class)
}

func testLive(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[0]
	w, err := s.Wsim(ctx, m, work.Preemptible, changeRepeats)
	fixture.Require(t, err)
	run := s.BeginOn(ctx, t, m, w)
	fixture.Steps{
		{"check that the workload runs", func(ctx context.Context) error { return fixture.AtWork(ctx, run) }},
		{"migrate to VF2", func(ctx context.Context) error { return move(ctx, t, s) }},
	}.Run(ctx, t)
	run = run.On(s.VMs[0])
	fixture.Steps{
		{"check that the workload still runs", func(ctx context.Context) error { return fixture.AtWork(ctx, run) }},
		{"wait until the workload ends", func(ctx context.Context) error { return s.Passes(ctx, run) }},
	}.Run(ctx, t)
	s.Works(ctx, t, s.VMs[0])
}

// move moves the first machine to the second VF by live migration.
func move(ctx context.Context, t *flow.T, s *fixture.Setup) error {
	m := s.VMs[0]
	if err := s.BindSpare(ctx, 1); err != nil {
		return err
	}
	vf, err := s.Assignable(1)
	if err != nil {
		return err
	}
	to, err := s.Start(ctx, m.Twin("vm1", vf), vm.ModeIncoming)
	if err != nil {
		return err
	}
	moved, err := m.Migrate(ctx, to, vm.MigrateOptions{})
	if err != nil {
		return err
	}
	t.Logf("moved in %s, paused for %s: %d KiB of memory, %d KiB of VF state",
		prose.Duration(moved.Total), prose.Duration(moved.Downtime), moved.RAM>>10, moved.VF>>10)
	s.VMs[0] = to
	return m.Close(ctx)
}
