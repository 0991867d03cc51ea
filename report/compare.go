package report

import (
	"fmt"
	"strings"

	"vmtb/flow"
)

// A change is a case in two runs.
type change struct {
	now    *testCase
	before *testCase // nil: it was not in the earlier run
}

// A comparison is a run beside an earlier one, in the words that GitLab uses.
type comparison struct {
	earlier *history

	New    []change // fail now, and did not before
	Fixed  []change // failed before, and pass now
	Still  []change // fail now as before
	Untold []change // failed before, and were not tried now
}

// compare lists what became of each case of h since before.
func compare(before, h *history) *comparison {
	c := &comparison{earlier: before}
	for _, g := range h.groups {
		for _, now := range g.cases {
			ch := change{now: now, before: before.cases[now.ID]}
			was := ch.before != nil && failed(ch.before.last().Result)
			switch k := kindOf(now.last().Result); {
			case k == bad || k == unknown:
				if was {
					c.Still = append(c.Still, ch)
				} else {
					c.New = append(c.New, ch)
				}
			case k == good && was:
				c.Fixed = append(c.Fixed, ch)
			case k == idle && was:
				c.Untold = append(c.Untold, ch)
			}
		}
	}
	return c
}

// past reads a run that is over into a history.
func past(run *flow.RunDir) *history {
	h := newHistory(run.Info)
	for _, e := range run.Entries {
		h.add(e)
	}
	h.finish()
	return h
}

// Compare is a run beside an earlier one as text: a line for each case that fails or failed, below a line of counts.
func Compare(earlier, run *flow.RunDir) string {
	c := compare(past(earlier), past(run))
	var b strings.Builder
	fmt.Fprintf(&b, "compared with %s: %d new, %d fixed, %d still failing\n", escape(earlier.Info.Dir), len(c.New), len(c.Fixed), len(c.Still))
	for _, list := range []struct {
		word    string
		changes []change
	}{{"NEW", c.New}, {"FIXED", c.Fixed}, {"STILL", c.Still}, {"NOT TRIED", c.Untold}} {
		for _, ch := range list.changes {
			fmt.Fprintf(&b, "%s %s (%s, was %s)\n", list.word, escape(ch.now.Name), ch.now.last().Result, ch.was())
		}
	}
	return b.String()
}

// was is the result in the earlier run.
func (c change) was() string {
	if c.before == nil {
		return "not there"
	}
	return string(c.before.last().Result)
}
