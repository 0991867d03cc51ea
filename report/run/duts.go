package run

import (
	"slices"

	"vmtb/flow"
)

// On returns the DUT of an entry in a merged run, as " on bmg-03". In other runs it returns "".
func On(e flow.Entry) string {
	if e.DUT == "" {
		return ""
	}
	return " on " + OneLine(e.DUT, 100)
}

// DUTsOf returns the DUTs that have results in groups, in the order of their first result. For a
// run of one DUT it returns only "".
func DUTsOf(groups []*Group) []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, g := range groups {
		for _, c := range g.Cases {
			add(c.Last().DUT)
		}
		for _, bad := range g.Trouble() {
			add(bad.DUT)
		}
	}
	return names
}

// Describe returns the description and the environment of the DUT called dut.
func Describe(info flow.Info, dut string) (line string, environment []flow.Fact) {
	if d, ok := info.Named(dut); ok && dut != "" {
		return d.Description, d.Environment
	}
	return info.DUT, info.Environment
}

// DUTFacts returns the DUTs of a merged run as facts for people.
func DUTFacts(info flow.Info) (facts []flow.Fact) {
	if s := info.Participants(); s != "" {
		facts = append(facts, flow.Fact{Name: "participants", Value: OneLine(s, 2000)})
	}
	if len(info.DUTs) < 2 {
		return facts
	}
	for _, d := range info.DUTs {
		for _, f := range append([]flow.Fact{{Name: "machine under test", Value: d.Description}}, d.Environment...) {
			if f.Value != "" && !slices.Contains(info.Environment, f) {
				facts = append(facts, flow.Fact{Name: Clean(d.Name + ": " + f.Name), Value: Clean(f.Value)})
			}
		}
	}
	return facts
}
