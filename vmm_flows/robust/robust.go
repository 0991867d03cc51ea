package robust

import (
	"fmt"
	"time"

	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

const file = "vm_robust"

// Register adds the flows of vm_robust.
func Register(r *flow.Registry) {
	addNeighbours(r)
	addScheduling(r)
	addLiveMigration(r)
	addLoops(r)
	addSleep(r)
	addAllVFs(r)
}

// auto returns a configuration of n VFs with the driver's fair shares.
func auto(n int) fixture.Config {
	return fixture.Config{VFs: n, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite}
}

// class returns a class with the fields that all classes here share.
func class(
	name, doc string, params []fixture.Config, cases ...flow.Case[*fixture.Setup],
) flow.Class[fixture.Config, *fixture.Setup] {
	return flow.Class[fixture.Config, *fixture.Setup]{
		Name: name, Doc: doc, Own: true,
		Params:  params,
		Fixture: fixture.Machines,
		Needs:   []flow.Need[fixture.Config]{fixture.GuestImage, fixture.EnoughVFs},
		Timeout: 5 * time.Minute,
		Cases:   cases,
	}
}

// A loop is a Config with a number of rounds.
type loop struct {
	fixture.Config
	rounds int
}

func (l loop) String() string { return fmt.Sprintf("%v-N:%d", l.Config, l.rounds) }
