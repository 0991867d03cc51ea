package robust

import (
	"context"
	"fmt"
	"time"

	"vmtb/bench/vm"
	"vmtb/bench/xe"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

// A looped is a Setup with a number of rounds.
type looped struct {
	*fixture.Setup
	rounds int
}

func addLoops(r *flow.Registry) {
	config := func(l loop) fixture.Config { return l.Config }
	boots := auto(1)
	boots.Cold = true
	flow.Add(r, file, flow.Class[loop, looped]{
		Name: "TestLoops", Doc: "A guest is restarted several times, and its VF works.", Own: true,
		Params:  []loop{{boots, 3}},
		Fixture: fixture.MachinesOf(config, func(l loop, s *fixture.Setup) looped { return looped{s, l.rounds} }),
		Needs:   fixture.NeedsOf(config, fixture.GuestImage, fixture.EnoughVFs),
		Timeout: 10 * time.Minute,
		Cases: []flow.Case[looped]{
			{Name: "test_reboot", Doc: "It reboots.", Func: func(ctx context.Context, t *flow.T, l looped) {
				l.run(ctx, t, "reboot", (*vm.Power).Reboot)
			}},
			{Name: "test_reset", Doc: "It is reset.", Func: func(ctx context.Context, t *flow.T, l looped) {
				l.run(ctx, t, "reset", (*vm.Power).Reset)
			}},
		},
	})
}

// run restarts the machine l.rounds times with do, and checks its VF each time.
func (l looped) run(ctx context.Context, t *flow.T, what string, do func(*vm.Power, context.Context) error) {
	m := l.VMs[0]
	for i := range l.rounds {
		fixture.Steps{
			{
				fmt.Sprintf("%s %v (%d of %d)", what, m, i+1, l.rounds),
				func(ctx context.Context) error { return do(m.Power(), ctx) },
			},
			{"find its VF", func(ctx context.Context) error {
				if err := fixture.Load(ctx, m, l.GuestDriver); err != nil { // the guest may not load it at boot
					return err
				}
				return xe.CheckDriver(ctx, m, l.GuestDriver)
			}},
		}.Run(ctx, t)
	}
	l.Works(ctx, t, m)
}
