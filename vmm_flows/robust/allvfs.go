package robust

import (
	"context"
	"fmt"
	"time"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/bench/xe"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

func addAllVFs(r *flow.Registry) {
	class := class("TestAllVFs", "All VFs that the PF has are enabled, and each works.", []fixture.Config{auto(0)},
		flow.Case[*fixture.Setup]{
			Name: "test_boot", Doc: "Machines with each VF boot, a few at a time, and their VFs work.",
			Func: testBootAll,
		},
	)
	class.Fixture = fixture.VFs // the case boots and ends the machines itself
	class.Timeout = 20 * time.Minute
	flow.Add(r, file, class)
}

// wave is the number of machines that run at once. It is small because VFIO pins all of their
// memory.
const wave = 2

func testBootAll(ctx context.Context, t *flow.T, s *fixture.Setup) {
	for first := 0; first < len(s.VFs); first += wave {
		last := min(first+wave, len(s.VFs))
		machines := make([]bench.Machine, last-first)
		fixture.Steps{{fmt.Sprintf("boot machines with VF%d to VF%d", first+1, last), func(ctx context.Context) error {
			return fixture.Each(ctx, machines, func(ctx context.Context, i int, _ bench.Machine) error {
				n := first + i
				m, err := s.Boot(ctx, fmt.Sprintf("vm%d", n), n)
				if err == nil {
					err = xe.CheckDriver(ctx, m, s.GuestDriver)
				}
				machines[i] = m
				return err
			})
		}}}.Run(ctx, t)
		s.Works(ctx, t, machines...)
		fixture.Steps{{"shut them down", func(ctx context.Context) error {
			return fixture.Each(ctx, machines, func(ctx context.Context, _ int, m bench.Machine) error {
				_, err := m.(*vm.VM).Power().Off(ctx)
				return err
			})
		}}}.Run(ctx, t)
	}
}
