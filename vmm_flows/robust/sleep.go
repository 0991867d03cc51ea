package robust

import (
	"context"
	"fmt"
	"time"

	"vmtb/bench/host"
	"vmtb/bench/pci"
	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/vmm_flows/fixture"
)

func addSleep(r *flow.Registry) {
	one := auto(1)
	one.Sleep = true
	class := class("TestSleep", "A guest, or the host, sleeps and wakes.", []fixture.Config{one},
		flow.Case[*fixture.Setup]{
			Name: "test_guest_s3", Doc: "A guest sleeps (S3) and wakes, and its VF works.", Func: testGuestSleep,
		},
		flow.Case[*fixture.Setup]{
			Name: "test_host_s3",
			Doc:  "The host sleeps (S3) with VFs enabled and a machine paused; both work afterwards.",
			Func: testHostSleep,
		},
	)
	flow.Add(r, file, class)
}

func testGuestSleep(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[0]
	fixture.Steps{
		{"put the guest to sleep", func(ctx context.Context) error {
			err := m.Power().Suspend(ctx)
			fixture.Require(t, err)
			return nil
		}},
		{"wake the guest", m.Power().Wake},
	}.Run(ctx, t)
	s.Works(ctx, t, m)
}

// hostSleep is the duration of the host's sleep.
const hostSleep = 10 * time.Second

func testHostSleep(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[0]
	if s.Host.InLab() {
		t.Skipf("the emulated machine under test does not work after S3")
	}
	fixture.Require(t, s.Host.CheckSuspend(ctx, host.SleepMem))
	fixture.Steps{
		{fmt.Sprintf("pause %v", m), m.Power().Pause},
		{"put the host to sleep for " + prose.Exact(hostSleep), func(ctx context.Context) error {
			slept, err := s.Host.Suspend(ctx, t.Env(), host.Suspend{
				Mode: host.SleepMem, For: hostSleep, PFs: []*pci.Device{s.PF.Device},
			})
			if err == nil {
				t.Logf("slept %s", prose.Duration(slept.Clock))
			}
			return err
		}},
		{fmt.Sprintf("resume %v", m), m.Power().Resume},
	}.Run(ctx, t)
	s.Works(ctx, t, s.Host, m)
}
