package migration

import (
	"fmt"

	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/vmm_flows/fixture"
)

// A scenario is the parameter of a flow. Where there is one VF, a machine is saved and goes back to
// what it was; where there are two, the first machine is saved and another one, on the second VF,
// goes on as it.
type scenario struct {
	fixture.Config
	load    load        // what the machine does meanwhile; nil is nothing that the id tells of
	doomed  bool        // load does not survive: see busy.go
	stopper xe.Stoppers // holds the recovery between the two saves of a double migration; 0 is no double migration
	restore which       // of its saves to go on from
	bare    bool        // the id does not show it
}

// which of two saves, as the ids have it.
type which string

const (
	first  which = "FIRST"
	second which = "SECOND"
)

// String is the parameter as the Python tool writes it.
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

// two says that another machine goes on.
func (s scenario) two() bool { return s.VFs > 1 }

func one(p fixture.Provisioning, n int) fixture.Config {
	return fixture.Config{VFs: n, MaxVMs: 1, Provisioning: p, Scheduling: vgpu.DefaultProfile}
}

func small(n int) fixture.Config {
	c := one(fixture.Profile, n)
	c.SmallVRAM = true
	return c
}

// The variants that flows come in.
var (
	basic  = []fixture.Config{one(fixture.Auto, 1), one(fixture.Auto, 2)}
	full   = append(basic[:2:2], one(fixture.Profile, 1), one(fixture.Profile, 2))
	quotas = []fixture.Config{small(1), small(2)} // little local memory, for two saves
)

// each makes a scenario of each variant.
func each(variants []fixture.Config, s scenario) []scenario {
	all := make([]scenario, len(variants))
	for i, c := range variants {
		all[i] = s
		all[i].Config = c
	}
	return all
}
