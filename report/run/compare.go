package run

import "vmtb/flow"

// A Change is a case in two runs.
type Change struct {
	Now    *Case
	Before *Case // nil: it was not in the earlier run
}

// A Comparison is a run beside an earlier one, in the words that GitLab uses.
type Comparison struct {
	Earlier *History

	New      []Change // fail now, and did not before
	Fixed    []Change // failed before, and pass now
	Still    []Change // fail now as before
	NotTried []Change // failed before, and did not run now
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

// Was returns the result in the earlier run, "" if the case was not in it.
func (c Change) Was() flow.Result {
	if c.Before == nil {
		return ""
	}
	return c.Before.Last().Result
}
