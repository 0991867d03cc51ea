package run

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmtb/flow"
	"vmtb/internal/prose"
)

// Aborted is the result of the case that ended the run because of --abort-on.
const Aborted flow.Result = "abort"

// Results lists every result, in the order of a summary.
var Results = []flow.Result{
	flow.Fail, flow.DmesgFail, flow.Timeout, flow.Error, Aborted, flow.Incomplete, flow.Pass, flow.DmesgWarn, flow.Skip,
	flow.NotRun,
}

// A Kind is the meaning of a result.
type Kind int

// The kinds of results.
const (
	Good    Kind = iota
	Bad          // the software under test failed
	Unknown      // the bench failed, or the case was cut off: nothing is known about the software
	Idle         // the case was skipped or did not run
)

// KindOf returns the kind of a result. A result that vmtb does not know is Unknown.
func KindOf(r flow.Result) Kind {
	switch r {
	case flow.Pass, flow.DmesgWarn:
		return Good
	case flow.Skip, flow.NotRun:
		return Idle
	case flow.Fail, flow.DmesgFail, flow.Timeout:
		return Bad
	}
	return Unknown
}

// Failed reports whether a result needs the user's attention.
func Failed(r flow.Result) bool { k := KindOf(r); return k == Bad || k == Unknown }

// counted maps results to the words that follow a number.
var counted = map[flow.Result]string{
	flow.Pass: "passed", flow.Fail: "failed", flow.Skip: "skipped", flow.Error: "error",
	flow.Timeout: "timed out", flow.Incomplete: "incomplete", flow.NotRun: "not run",
	flow.DmesgWarn: "passed with kernel warnings", flow.DmesgFail: "failed because of kernel messages",
	Aborted: "aborted",
}

// Counted returns the word for a result after a number: "passed", "error".
func Counted(r flow.Result) string { return counted[r] }

// Tally returns a count of results of one kind: "3 passed", "1 error", "2 errors".
func Tally(n int, r flow.Result) string {
	if r == flow.Error {
		return prose.Count(n, counted[r])
	}
	return fmt.Sprintf("%d %s", n, counted[r])
}

// Last returns the attempt that counts.
func (c *Case) Last() *Phase { return c.Attempts[len(c.Attempts)-1] }

// Flaky reports whether the case passed after an earlier attempt failed.
func (c *Case) Flaky() bool {
	return KindOf(c.Last().Result) == Good &&
		slices.ContainsFunc(c.Attempts, func(p *Phase) bool { return Failed(p.Result) })
}

// Excused reports whether the case failed in quarantine, so that the failure does not count.
func (c *Case) Excused() bool { return c.Last().Quarantined && Failed(c.Last().Result) }

// Excuse returns why the case is in quarantine.
func (c *Case) Excuse() string {
	text := "quarantined"
	if q := c.Quarantine; q != nil {
		text += " until " + Clean(string(q.Expires)) + ": " + OneLine(q.Reason, 300)
		if q.Link != "" {
			text += " (" + OneLine(q.Link, 300) + ")"
		}
	}
	return text
}

// OfFixture reports whether this is a phase of a fixture, not an attempt of a case.
func (p *Phase) OfFixture() bool { return p.Phase != flow.PhaseCase }

// Start returns the time of the phase's begin, or of the result if it did not run.
func (p *Phase) Start() time.Time {
	if p.Began.IsZero() {
		return p.Time
	}
	return p.Began
}

// A Trouble is a failure of a fixture that no case has as its result: a failed reset, tear-down or
// restore.
type Trouble struct {
	*Phase
	Name string // "tear-down", then "tear-down 2" and so on; unique in the group
}

// CaseID returns an id like that of a case, with the name of the trouble. No case has such a name.
func (t Trouble) CaseID() flow.ID {
	id := t.ID
	id.Case = t.Name
	return id
}

// Trouble returns the fixture failures of the group that no case has as its result.
func (g *Group) Trouble() []Trouble {
	var out []Trouble
	seen := map[flow.Phase]int{}
	for _, p := range g.Phases {
		switch p.Phase {
		case flow.PhaseReset, flow.PhaseTearDown, flow.PhaseRestore:
			if p.Result == "" || !Failed(p.Result) {
				continue
			}
			seen[p.Phase]++
			name := string(p.Phase)
			if n := seen[p.Phase]; n > 1 {
				name += " " + strconv.Itoa(n)
			}
			out = append(out, Trouble{p, name})
		}
	}
	return out
}

// Title returns a name of the phase for people: the id of the case, or the id of the fixture with
// the phase.
func (p *Phase) Title() string {
	if p.Phase == flow.PhaseCase {
		return p.ID.String()
	}
	return p.ID.String() + " " + string(p.Phase)
}

// Summary returns the summary of the run. It counts each case once.
func (h *History) Summary() flow.Summary {
	s := flow.Summary{Dir: h.Info.Dir, Total: len(h.Info.Plan)}
	for _, g := range h.Groups {
		for _, p := range g.Phases {
			if p.OfFixture() {
				s.Add(p.Entry)
			}
		}
		for _, c := range g.Cases {
			s.Add(c.Last().Entry)
		}
	}
	for _, e := range h.runs {
		s.Add(e)
	}
	if !h.over() {
		began := h.Info.Start
		if n := len(h.runs); n > 0 {
			began = h.runs[n-1].Time
		}
		s.Add(CutOffRun(began, h.Until))
	}
	return s
}

// Uname returns the kernel of the host under test in the form of uname. If it is not known, it
// returns the description of the host.
func (h *History) Uname() string {
	for _, f := range h.Info.Environment {
		if f.Name == "uname" {
			return Clean(f.Value)
		}
	}
	return Clean(h.Info.DUT)
}

// Classes returns the groups by file and class, in the order of the plan.
func (h *History) Classes() [][]*Group {
	var out [][]*Group
	for _, g := range h.Groups {
		if n := len(out); n > 0 && ClassName(out[n-1][0].ID) == ClassName(g.ID) {
			out[n-1] = append(out[n-1], g)
			continue
		}
		out = append(out, []*Group{g})
	}
	return out
}

// ClassName returns "test_basic::TestVmSetup", or the file of a case without a class.
func ClassName(id flow.ID) string { return flow.ID{File: id.File, Class: id.Class}.String() }

// CaseName returns a name such as "test_vm_boot[1VF-...]".
func CaseName(id flow.ID) string { return flow.ID{File: id.Case, Param: id.Param}.String() }

// fixtureDir returns the folder of a fixture: the parent of a case's folder.
func fixtureDir(caseDir string) string {
	if caseDir == "" {
		return ""
	}
	return path.Dir(strings.TrimSuffix(caseDir, "/"))
}
