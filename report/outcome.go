package report

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmtb/flow"
)

// aborted is the result of what ended the run: --abort-on.
const aborted flow.Result = "abort"

// results is every result, in the order in which a summary names them.
var results = []flow.Result{
	flow.Fail, flow.DmesgFail, flow.Timeout, flow.Error, aborted, flow.Incomplete, flow.Pass, flow.DmesgWarn, flow.Skip, flow.NotRun,
}

// A kind is what a result comes to.
type kind int

const (
	good    kind = iota
	bad          // the software under test
	unknown      // the bench, or nobody knows
	idle         // nothing was tried
)

func kindOf(r flow.Result) kind {
	switch r {
	case flow.Pass, flow.DmesgWarn:
		return good
	case flow.Skip, flow.NotRun:
		return idle
	case flow.Fail, flow.DmesgFail, flow.Timeout:
		return bad
	}
	return unknown
}

// failed reports a result that somebody has to look at.
func failed(r flow.Result) bool { k := kindOf(r); return k == bad || k == unknown }

// last is the attempt that counts.
func (c *testCase) last() *phase { return c.attempts[len(c.attempts)-1] }

// flaky reports a case that passed after it had failed.
func (c *testCase) flaky() bool {
	return kindOf(c.last().Result) == good && slices.ContainsFunc(c.attempts, func(p *phase) bool { return failed(p.Result) })
}

// fixture is a phase of the fixture, not a case.
func (p *phase) fixture() bool { return p.Phase != flow.PhaseCase }

// start is when the phase began, or got its result.
func (p *phase) start() time.Time {
	if p.began.IsZero() {
		return p.Time
	}
	return p.began
}

// A trouble is what went wrong in a fixture and is the result of no case: a reset, a tear-down, a restore.
type trouble struct {
	*phase
	name string // "tear-down", and "tear-down 2" when the fixture was built again; no two of a group have the same
}

func (g *group) trouble() []trouble {
	var out []trouble
	seen := map[flow.Phase]int{}
	for _, p := range g.phases {
		switch p.Phase {
		case flow.PhaseReset, flow.PhaseTearDown, flow.PhaseRestore:
			if p.Result == "" || !failed(p.Result) {
				continue
			}
			seen[p.Phase]++
			name := string(p.Phase)
			if n := seen[p.Phase]; n > 1 {
				name += " " + strconv.Itoa(n)
			}
			out = append(out, trouble{p, name})
		}
	}
	return out
}

// title names a phase for people: the case's id, or the fixture's with the phase.
func (p *phase) title() string {
	if p.Phase == flow.PhaseCase {
		return p.ID.String()
	}
	return p.ID.String() + " " + string(p.Phase)
}

// summary counts each case once.
func (h *history) summary() flow.Summary {
	s := flow.Summary{Dir: h.info.Dir, Total: len(h.info.Plan)}
	for _, g := range h.groups {
		for _, p := range g.phases {
			if p.fixture() {
				s.Add(p.Entry)
			}
		}
		for _, c := range g.cases {
			s.Add(c.last().Entry)
		}
	}
	for _, e := range h.runs {
		s.Add(e)
	}
	if !h.over() {
		began := h.info.Start
		if n := len(h.runs); n > 0 {
			began = h.runs[n-1].Time
		}
		s.Add(flow.Entry{Event: flow.End, Phase: flow.PhaseRun, Result: flow.Error, Duration: h.now.Sub(began), Reason: cutShort})
	}
	return s
}

// cutShort is why a run without an end ended.
const cutShort = "the journal has no end: vmtb was killed, or still runs"

// classes are the groups by file and class, in the order of the plan.
func (h *history) classes() [][]*group {
	var out [][]*group
	for _, g := range h.groups {
		if n := len(out); n > 0 && className(out[n-1][0].id) == className(g.id) {
			out[n-1] = append(out[n-1], g)
			continue
		}
		out = append(out, []*group{g})
	}
	return out
}

// className is "test_basic::TestVmSetup", or the file of a case that stands alone.
func className(id flow.ID) string { return flow.ID{File: id.File, Class: id.Class}.String() }

// caseName is "test_vm_boot[1VF-...]".
func caseName(id flow.ID) string { return flow.ID{File: id.Case, Param: id.Param}.String() }

func groupDir(caseDir string) string {
	if caseDir == "" {
		return ""
	}
	return path.Dir(strings.TrimSuffix(caseDir, "/"))
}
