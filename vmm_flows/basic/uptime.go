package basic

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

// An uptimeConfig is a parameter with the shortest uptime that passes.
type uptimeConfig struct {
	fixture.Config
	seconds int
}

func (c uptimeConfig) String() string { return fmt.Sprintf("%v-U:%d", c.Config, c.seconds) }

// An uptimeSetup is a setup with the shortest uptime that passes.
type uptimeSetup struct {
	*fixture.Setup
	seconds int
}

func addUptime(r *flow.Registry) {
	config := func(c uptimeConfig) fixture.Config { return c.Config }
	flow.Add(r, file, flow.Class[uptimeConfig, uptimeSetup]{
		Name: "TestUptime", Doc: "A guest's uptime is plausible.", Own: true,
		Params:  []uptimeConfig{{fixture.Config{VFs: 1, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite}, 1}},
		Fixture: fixture.MachinesOf(config, func(c uptimeConfig, s *fixture.Setup) uptimeSetup { return uptimeSetup{s, c.seconds} }),
		Needs:   fixture.NeedsOf(config, fixture.GuestImage, fixture.EnoughVFs),
		Timeout: 2 * time.Minute,
		Cases:   []flow.Case[uptimeSetup]{{Name: "test_uptime", Doc: "The guest is up for long enough.", Func: testUptime}},
	})
}

func testUptime(ctx context.Context, t *flow.T, s uptimeSetup) {
	r, err := s.VMs[0].Exec(ctx, bench.Shell("cut -d. -f1 /proc/uptime"))
	if err != nil {
		t.Fatal(err)
	}
	up, err := strconv.Atoi(strings.TrimSpace(string(r.Stdout)))
	if err != nil || up < s.seconds {
		t.Errorf("%v: uptime %d s (%v), want at least %d s", s.VMs[0], up, err, s.seconds)
	}
}
