package migration

import (
	"fmt"

	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/vmm_flows/fixture"
)

// A scenario is the parameter of a flow. With one VF, a machine is saved and restored in place.
// With two VFs, the first machine is saved, and a second machine on the other VF continues from its
// state.
type scenario struct {
	fixture.Config
	load    load        // work of the machine; nil: none that is part of the id
	doomed  bool        // load does not survive the save: see busy.go
	stopper xe.Stoppers // holds the recovery during a double migration; 0: no double migration
	restore which       // the save from which a double migration restores
	bare    bool        // the id has no parameter
}

// A which is one of two saves, with the word that ids use.
type which string

const (
	first  which = "FIRST"
	second which = "SECOND"
)

// String returns the parameter in the form of the Python tool.
func (s scenario) String() string {
	switch {
	case s.bare:
		return ""
	case s.stopper != 0:
		return fmt.Sprintf("%v-RS:%#x-MR:MigrationToRestore.%s", s.Config, uint8(s.stopper), s.restore)
	case s.load != nil:
		return fmt.Sprintf("%v-WL:%v", s.Config, s.load)
	}
	return s.Config.String()
}

// two reports whether a second machine takes the place of the saved one.
func (s scenario) two() bool { return s.VFs > 1 }

func one(p fixture.Provisioning, n int) fixture.Config {
	return fixture.Config{VFs: n, MaxVMs: 1, Provisioning: p, Scheduling: vgpu.DefaultProfile, Moves: true}
}

func small(n int) fixture.Config {
	c := one(fixture.Profile, n)
	c.SmallVRAM = true
	return c
}

// The configurations of the flows.
var (
	basic  = []fixture.Config{one(fixture.Auto, 1), one(fixture.Auto, 2)}
	full   = append(basic[:2:2], one(fixture.Profile, 1), one(fixture.Profile, 2))
	quotas = []fixture.Config{small(1), small(2)} // little local memory, because a machine is saved twice
)

// each returns s with each of the configurations.
func each(variants []fixture.Config, s scenario) []scenario {
	all := make([]scenario, len(variants))
	for i, c := range variants {
		all[i] = s
		all[i].Config = c
	}
	return all
}
