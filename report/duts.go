package report

import (
	"slices"

	"vmtb/flow"
)

// on says which DUT of a merged run an entry is of: " on bmg-03". It is "" in other runs.
func on(e flow.Entry) string {
	if e.DUT == "" {
		return ""
	}
	return " on " + oneLine(e.DUT, 100)
}

// dutsOf are the DUTs whose results the groups have, in the order in which they come; "" alone for
// a run that is not merged of several.
func dutsOf(groups []*group) []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, g := range groups {
		for _, c := range g.cases {
			add(c.last().DUT)
		}
		for _, bad := range g.trouble() {
			add(bad.DUT)
		}
	}
	return names
}

// hostOf is the name of the host on which the DUT of that name runs, as JUnit has it.
func (h *history) hostOf(dut string) string {
	switch {
	case dut != "":
		return hostName(clean(dut))
	case len(h.info.DUTs) > 1:
		return hostName("") // it ran nowhere
	}
	return hostName(h.info.DUT)
}

// describe is the line that describes the DUT of that name, and what is known of it.
func (h *history) describe(dut string) (line string, environment []flow.Fact) {
	if d, ok := h.info.Named(dut); ok && dut != "" {
		return d.Description, d.Environment
	}
	return h.info.DUT, h.info.Environment
}

// dutFacts are the DUTs of a merged run, for people.
func (h *history) dutFacts() (facts []flow.Fact) {
	if s := h.info.Participants(); s != "" {
		facts = append(facts, flow.Fact{Name: "participants", Value: oneLine(s, 2000)})
	}
	if len(h.info.DUTs) < 2 {
		return facts
	}
	for _, d := range h.info.DUTs {
		for _, f := range append([]flow.Fact{{Name: "machine under test", Value: d.Description}}, d.Environment...) {
			if f.Value != "" && !slices.Contains(h.info.Environment, f) {
				facts = append(facts, flow.Fact{Name: clean(d.Name + ": " + f.Name), Value: clean(f.Value)})
			}
		}
	}
	return facts
}
