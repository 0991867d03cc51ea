package run

import (
	"strings"
	"testing"
	"time"

	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/report/reporttest"
)

// A flow that logs without end does not fill the memory: only the newest lines are kept.
func TestManyLines(t *testing.T) {
	tp := reporttest.NewTape(reporttest.Boot("1VF"))
	id := reporttest.Boot("1VF")
	tp.Begin("case", id)
	for range 20000 {
		tp.Log("INFO", strings.Repeat("x", 100), id)
		tp.Step("step", id, 0, tp.Entries[0])
	}
	tp.Log("INFO", "the last words", id)
	h := New(tp.Info)
	for _, e := range tp.Entries {
		h.Add(e)
	}
	h.Finish()
	p := h.Cases[id].Last()
	if len(p.Steps) > maxSteps || p.logged > maxLog || !strings.HasSuffix(
		strings.TrimSpace(p.Transcript(prose.Duration)), "the last words",
	) {
		t.Errorf("%d steps, %d bytes of log", len(p.Steps), p.logged)
	}
	if p.left != 20001-len(p.log)+20000-maxSteps {
		t.Errorf("%d are said to be left out", p.left)
	}
}

// A step whose code was abandoned lasts as long as its phase. Its own end, which comes later,
// changes nothing. In particular it does not end a step of the same name in the next phase.
func TestAbandonedStep(t *testing.T) {
	id, next := reporttest.Boot("1VF"), reporttest.Boot("2VF")
	tape := reporttest.NewTape(id, next)
	step := flow.Entry{Phase: flow.PhaseStep, ID: id, Name: "wait"}
	begin := step
	begin.Event = flow.Begin
	tape.Begin(flow.PhaseCase, id)
	tape.Entry(begin)
	tape.End(flow.Entry{Phase: flow.PhaseCase, ID: id, Result: flow.Timeout, Abandoned: true}, time.Minute)
	tape.Begin(flow.PhaseCase, next)
	tape.End(step, time.Second)
	tape.End(flow.Entry{Phase: flow.PhaseCase, ID: next, Result: flow.Pass}, time.Second)
	tape.Finish(flow.Entry{})
	h := Read(&flow.RunDir{Info: tape.Info, Entries: tape.Entries})
	p := h.Cases[id].Last()
	if p.Result != flow.Timeout || len(p.Steps) != 1 || p.Steps[0].Result != flow.Incomplete ||
		p.Steps[0].Duration != time.Minute {
		t.Errorf("%s, steps %+v", p.Result, p.Steps)
	}
	if p := h.Cases[next].Last(); p.Result != flow.Pass || len(p.Steps) > 0 {
		t.Errorf("%s, steps %+v", p.Result, p.Steps)
	}
}

// Phases that run at the end of a journal are cut off there: a case is incomplete, a phase of a
// fixture is an error.
func TestCutOff(t *testing.T) {
	id := reporttest.Boot("1VF")
	tape := reporttest.NewTape(id, reporttest.Boot("2VF"))
	tape.Begin(flow.PhaseSetUp, id.Fixture())
	tape.Ticks(2)
	tape.Log("INFO", "still there", id.Fixture())
	h := Read(&flow.RunDir{Info: tape.Info, Entries: tape.Entries})
	p := h.Group(id).Phases[0]
	if p.Result != flow.Error || p.Reason != cutShort || p.Duration != 2*time.Second {
		t.Errorf("set-up: %s (%s) after %v", p.Result, p.Reason, p.Duration)
	}
	if c := h.Cases[id].Last(); c.Result != flow.NotRun {
		t.Errorf("the case is %s, want notrun", c.Result)
	}
	if s := h.Summary(); s.Stopped != noEnd || s.Counts[flow.NotRun] != 2 {
		t.Errorf("summary %+v", s)
	}
}

// In a merged run, cases of several DUTs run at once. The end of one case leaves the others
// running.
func TestInterleaved(t *testing.T) {
	a, b := reporttest.Boot("1VF"), reporttest.Boot("2VF")
	tape := reporttest.NewTape(a, b)
	step := flow.Entry{Event: flow.Begin, Phase: flow.PhaseStep, ID: b, Name: "wait"}
	tape.Begin(flow.PhaseCase, a)
	tape.Begin(flow.PhaseCase, b)
	tape.Entry(step)
	tape.End(flow.Entry{Phase: flow.PhaseCase, ID: a, Result: flow.Pass, DUT: "one"}, time.Second)
	tape.End(flow.Entry{Phase: flow.PhaseStep, ID: b, Name: "wait"}, time.Second)
	tape.End(flow.Entry{Phase: flow.PhaseCase, ID: b, Result: flow.Pass, DUT: "two"}, 2*time.Second)
	tape.Finish(flow.Entry{})
	h := Read(&flow.RunDir{Info: tape.Info, Entries: tape.Entries})
	for _, id := range []flow.ID{a, b} {
		if c := h.Cases[id]; len(c.Attempts) != 1 || c.Last().Result != flow.Pass {
			t.Errorf("%s: %d attempts, %s", id, len(c.Attempts), c.Last().Result)
		}
	}
	if steps := h.Cases[b].Last().Steps; len(steps) != 1 || steps[0].Result != "" {
		t.Errorf("steps %+v", steps)
	}
}
