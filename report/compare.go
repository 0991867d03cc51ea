package report

import (
	"cmp"
	"fmt"
	"strings"

	"vmtb/flow"
	"vmtb/report/run"
)

// Compare compares a run with an earlier one. It returns text: a line of counts, a line with what
// differs about the machines, then a line for each case that fails now or failed before.
func Compare(earlier, now *flow.RunDir) string {
	c := run.Compare(run.Read(earlier), run.Read(now))
	var b strings.Builder
	fmt.Fprintf(&b, "compared with %s: %d new, %d fixed, %d still failing\n",
		run.Escape(earlier.Info.Dir), len(c.New), len(c.Fixed), len(c.Still))
	fmt.Fprintf(&b, "environment: %s\n", c.EnvironmentLine())
	for _, list := range []struct {
		word    string
		changes []run.Change
	}{{"NEW", c.New}, {"FIXED", c.Fixed}, {"STILL", c.Still}, {"NOT TRIED", c.NotTried}} {
		for _, ch := range list.changes {
			was := cmp.Or(string(ch.Was()), "not in that run")
			fmt.Fprintf(&b, "%s %s (%s, was %s)\n", list.word, run.Escape(ch.Now.Name), ch.Now.Last().Result, was)
		}
	}
	return b.String()
}
