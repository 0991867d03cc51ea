package terminal

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/report/run"
)

// finish prints everything after the results, once.
func (t *Terminal) finish() {
	if t.over {
		return
	}
	t.over = true
	t.erase()
	t.details()
	t.short()
	t.totals()
}

// details prints the details of every failure. If an earlier case of the same fixture failed for
// the same reason, the case is only in the short summary.
func (t *Terminal) details() {
	type cause struct {
		fixture flow.ID
		reason  string
	}
	seen := map[cause]bool{}
	for i, f := range t.failures {
		if i == 0 {
			t.line("\n" + t.rule("=", "FAILURES"))
		}
		c := cause{f.ID.Fixture(), f.Reason}
		if seen[c] {
			continue
		}
		seen[c] = true
		t.line(t.paint(red, t.rule("_", f.title())))
		t.detail(f)
	}
}

func (t *Terminal) detail(f failure) {
	t.line(indent(f.Reason))
	if f.Where != "" {
		t.line("at:    " + run.Escape(f.Where))
	}
	if f.Blame != "" {
		t.line("blame: " + run.Blamed(f.Blame))
	}
	if f.Stack != "" {
		t.line("stack:\n" + indent(f.Stack))
	}
	if len(f.log) > 0 {
		t.line("log:")
	}
	for _, e := range f.log {
		t.line(fmt.Sprintf("  %s  %s", clock(e.Time.Sub(t.info.Start)), logLine(e)))
	}
	if f.Dir != "" {
		t.line("files: " + run.Escape(t.dir(f.Dir)))
	}
	if f.fixture != "" && f.fixture != f.Dir {
		t.line("       " + run.Escape(t.dir(f.fixture)) + " (fixture: consoles and logs of its machines)")
	}
}

func (f failure) title() string {
	if f.Phase == flow.PhaseCase {
		return f.ID.String()
	}
	return fmt.Sprintf("%s %s", f.ID, f.Phase)
}

// short prints one line for every case and phase that did not simply pass.
func (t *Terminal) short() {
	if len(t.failures)+len(t.noted) == 0 {
		t.line("")
		return
	}
	t.line("\n" + t.rule("=", "short summary"))
	for _, f := range t.failures {
		t.line(fmt.Sprintf("%s %s - %s", t.word(f.Result), run.Escape(f.title()), firstLine(f.Reason)))
	}
	for _, e := range t.noted {
		t.line(fmt.Sprintf("%s %s - %s", t.word(e.Result), run.Escape(e.ID.String()), firstLine(e.Reason)))
	}
}

// totals prints messages about the whole run, then the last line.
func (t *Terminal) totals() {
	s := t.summary
	if s.Unrestored != "" {
		t.line(t.paint(red, "the host was NOT restored:\n") + indent(s.Unrestored))
	}
	if s.Stopped != "" && s.Unrestored == "" {
		t.line(t.paint(yellow, "stopped: "+run.Escape(s.Stopped)))
	}
	var parts []string
	for _, r := range run.Results {
		if n := s.Counts[r]; n > 0 {
			parts = append(parts, run.Tally(n, r))
		}
	}
	if s.Errors > 0 {
		parts = append(parts, prose.Count(s.Errors, "tear-down error"))
	}
	if len(parts) == 0 {
		parts = []string{"nothing ran"}
	}
	c := green
	if s.ExitCode() != flow.ExitPass {
		c = red
	}
	t.slowest()
	t.line("run directory: " + run.Escape(t.info.Dir))
	t.line(t.paint(c, t.rule("=", strings.Join(parts, ", ")+" in "+prose.Duration(s.Duration))))
}

// slowest prints the slowest cases and phases, like pytest --durations.
func (t *Terminal) slowest() {
	n := t.o.Slowest
	if n < 0 || n > len(t.timed) {
		n = len(t.timed)
	}
	if n == 0 {
		return
	}
	list := slices.Clone(t.timed)
	// not slices.SortStableFunc: it makes the binary larger
	sort.SliceStable(list, func(i, j int) bool { return list[i].Duration > list[j].Duration })
	t.line(t.rule("=", fmt.Sprintf("slowest %d of %d", n, len(list))))
	for _, e := range list[:n] {
		t.line(fmt.Sprintf("%12s  %-9s  %s", prose.Duration(e.Duration), e.Phase, run.Escape(e.ID.String())))
	}
}

// cutOff adds the missing results of a run whose journal has no end.
func (t *Terminal) cutOff() {
	missing := len(t.info.Plan) - t.done
	for _, o := range t.open.All() {
		if o.Begin.Phase == flow.PhaseCase {
			e := run.CutOff(o.Begin, t.now)
			t.caseEnd(e)
			t.summary.Add(e)
			missing--
		}
	}
	for range missing {
		t.summary.Add(flow.Entry{Event: flow.End, Phase: flow.PhaseCase, Result: flow.NotRun})
	}
	t.summary.Add(run.CutOffRun(t.info.Start, t.now))
}
