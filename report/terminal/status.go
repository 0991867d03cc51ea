package terminal

import (
	"fmt"
	"strings"
	"time"

	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/report/run"
)

// verbs maps a phase to the first words of its status. The subject follows.
var verbs = map[flow.Phase]string{
	flow.PhaseNeeds:    "checking the needs of",
	flow.PhaseSetUp:    "setting up",
	flow.PhaseCase:     "running",
	flow.PhaseReset:    "resetting",
	flow.PhaseTearDown: "tearing down",
	flow.PhaseRestore:  "restoring the host after",
}

// activity returns a running phase as text, such as "setting up TestVmSetup[2VF-(P:AUTO
// S:INFINITE)]".
func activity(e flow.Entry) string {
	id := e.ID
	id.File = ""
	return verbs[e.Phase] + " " + run.Escape(strings.TrimPrefix(id.String(), "::"))
}

// doing returns the running phase and step and their durations, in at most n columns; "" between
// two phases.
func (t *Terminal) doing(n int) string {
	var phase, step flow.Entry
	for _, o := range t.open.All() {
		switch e := o.Begin; e.Phase {
		case flow.PhaseStep:
			step = e
		default:
			phase = e
		}
	}
	if phase.Phase == "" {
		return ""
	}
	tail := ", " + running(t.now.Sub(phase.Time))
	if step.Name != "" { // the duration after a step's name is that of the step
		tail = ": " + firstLine(step.Name) + ", " + running(t.now.Sub(step.Time))
	}
	return run.Cut(run.Cut(activity(phase), max(n/2, n-run.Width(tail)))+tail, n)
}

// draw updates the status line.
func (t *Terminal) draw() {
	if !t.o.Live || t.over {
		return
	}
	count := fmt.Sprintf("[%d/%d] ", min(t.done+1, len(t.info.Plan)), len(t.info.Plan))
	s := t.doing(t.width() - 1 - run.Width(count))
	if s != "" {
		s = count + s
	}
	if s == t.status {
		return
	}
	t.erase()
	t.print(t.paint(dim, s))
	t.status = s
}

// erase removes the status line.
func (t *Terminal) erase() {
	if t.status != "" {
		t.print("\r\x1b[K")
		t.status = ""
	}
}

// running formats the duration of something that is still running, in whole seconds: "12 s", "2 min
// 5 s".
func running(d time.Duration) string { return prose.Duration(d.Truncate(time.Second)) }

// clock formats the time since the begin of the run for the start of a line: "0:02:05". It is a
// time in a column, not a duration, so it does not use [prose.Duration].
func clock(d time.Duration) string {
	s := int(d / time.Second)
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}
