package run

import "vmtb/flow"

// A Change is the same case in two runs.
type Change struct {
	Now    *Case
	Before *Case // nil: the earlier run does not have the case
}

// A Comparison compares a run with an earlier one. Its words are those of GitLab.
type Comparison struct {
	Earlier *History

	New      []Change // fail now and did not fail before
	Fixed    []Change // pass now and failed before
	Still    []Change // fail now and failed before
	NotTried []Change // did not run now and failed before
}

// Compare compares each case of h with the same case of an earlier run.
func Compare(earlier, h *History) *Comparison {
	c := &Comparison{Earlier: earlier}
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

// Was returns the result in the earlier run; "" if that run does not have the case.
func (c Change) Was() flow.Result {
	if c.Before == nil {
		return ""
	}
	return c.Before.Last().Result
}
