package migration

import (
	"time"

	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

const file = "test_migration"

// Register adds the flows of test_migration.
func Register(r *flow.Registry) {
	addBusy(r)
	addIdle(r)
	addDouble(r)
	addCheckpoint(r)
	addPauseResume(r)
	addNoDriver(r)
}

// add adds a class. Without a class name it adds cases that stand alone in the file.
func add(r *flow.Registry, class, doc string, params []scenario, cases ...flow.Case[*bed]) {
	flow.Add(r, file, flow.Class[scenario, *bed]{
		Name: class, Doc: doc,
		Params: params,
		Fixture: fixture.MachinesOf(config, func(s scenario, setup *fixture.Setup) *bed {
			return &bed{Setup: setup, scenario: s}
		}),
		Needs: fixture.NeedsOf(
			config, fixture.GuestImage, fixture.EnoughVFs, fixture.ProfileAvailable, fixture.Movable,
		),
		Timeout: 5 * time.Minute,
		Cases:   cases,
	})
}

func config(s scenario) fixture.Config { return s.Config }
