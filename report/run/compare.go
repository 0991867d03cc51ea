package run

import (
	"strings"

	"vmtb/flow"
)

// A Change is the same case in two runs.
type Change struct {
	Now    *Case
	Before *Case // nil: the earlier run does not have the case
}

// A Comparison compares a run with an earlier one. Its words are those of GitLab.
type Comparison struct {
	Earlier *History

	Environment []Difference // what is not the same about the machines, the kernels first

	New      []Change // fail now and did not fail before
	Fixed    []Change // pass now and failed before
	Still    []Change // fail now and failed before
	NotTried []Change // did not run now and failed before
}

// Compare compares each case of h with the same case of an earlier run.
func Compare(earlier, h *History) *Comparison {
	c := &Comparison{Earlier: earlier, Environment: differences(earlier, h)}
	for _, g := range h.Groups {
		for _, now := range g.Cases {
			ch := Change{Now: now, Before: earlier.Cases[now.ID]}
			was := ch.Before != nil && Failed(ch.Before.Last().Result)
			switch k := KindOf(now.Last().Result); {
			case k == Bad || k == Unknown:
				if was {
					c.Still = append(c.Still, ch)
				} else {
					c.New = append(c.New, ch)
				}
			case k == Good && was:
				c.Fixed = append(c.Fixed, ch)
			case k == Idle && was:
				c.NotTried = append(c.NotTried, ch)
			}
		}
	}
	return c
}

// EnvironmentLine returns what differs about the machines on one line: "host kernel 7.2.13 / 7.3.4;
// qemu 10.0.2 / 10.0.13". Facts that only one run recorded come last.
func (c *Comparison) EnvironmentLine() string {
	var parts, earlier, now []string
	for _, d := range c.Environment {
		name := OneLine(d.Name, 100)
		switch {
		case d.Now == "":
			earlier = append(earlier, name)
		case d.Before == "":
			now = append(now, name)
		default:
			parts = append(parts, name+" "+OneLine(d.Before, 100)+" / "+OneLine(d.Now, 100))
		}
	}
	if len(parts) == 0 {
		parts = []string{"no difference known"}
	}
	if len(earlier) > 0 {
		parts = append(parts, "only in the earlier run: "+strings.Join(earlier, ", "))
	}
	if len(now) > 0 {
		parts = append(parts, "only in this run: "+strings.Join(now, ", "))
	}
	return strings.Join(parts, "; ")
}

// Was returns the result in the earlier run; "" if that run does not have the case.
func (c Change) Was() flow.Result {
	if c.Before == nil {
		return ""
	}
	return c.Before.Last().Result
}
