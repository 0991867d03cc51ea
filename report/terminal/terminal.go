package terminal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"vmtb/flow"
	"vmtb/report/run"
)

// Options control the output of a [Terminal].
type Options struct {
	Verbose int        // 1 also prints begins, 2 also log lines of flows; -1 prints only cases that did not pass
	LogFrom slog.Level // lowest level of printed log lines of flows; 0 is INFO
	Slowest int        // number of slowest phases that are listed at the end; -1 is all
	Live    bool       // show the running phase in a status line; otherwise print it after each Heartbeat of silence
	Color   bool       // use colours (ANSI sequences)
	Width   func() int // returns the number of columns; nil or 0 is 80
}

// For returns o with Live, Color and Width set for the file f. Live is set if f is a terminal that
// supports it. Color is set, too, unless the NO_COLOR variable is set (https://no-color.org).
func (o Options) For(f *os.File) Options {
	o.Live = term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
	o.Color = o.Live && os.Getenv("NO_COLOR") == ""
	o.Width = func() int {
		w, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0
		}
		return w
	}
	return o
}

// Heartbeat is the longest silence of a Terminal that is not live, while a phase is running.
const Heartbeat = 30 * time.Second

// A Terminal prints a run in the style of pytest -v. Several goroutines may call its methods at
// once.
type Terminal struct {
	o Options

	mu       sync.Mutex
	w        io.Writer
	err      error // first error of w
	info     flow.Info
	summary  flow.Summary
	done     int // number of cases with a result
	open     flow.OpenPhases[struct{}]
	now      time.Time    // newest time seen
	printed  time.Time    // time of the last output
	status   string       // the text in the status line
	recent   []flow.Entry // log lines of the present case or phase
	failures []failure
	noted    []flow.Entry       // for the short summary: cases that were skipped or passed with kernel warnings
	timed    []flow.Entry       // ends of cases and phases, for the list of the slowest
	folders  map[flow.ID]string // folder of each group's newest fixture, which has the machines' files
	over     bool
}

type failure struct {
	flow.Entry
	log     []flow.Entry
	fixture string // folder of its fixture, relative to the run directory; "" if there was none
}

// levelOf returns the level of a log line. A line whose level slog does not know is always printed.
func levelOf(e flow.Entry) slog.Level {
	var level slog.Level
	if level.UnmarshalText([]byte(e.Level)) != nil {
		return slog.LevelError
	}
	return level
}

// New returns a Terminal that prints to w.
func New(w io.Writer, o Options) *Terminal { return &Terminal{w: w, o: o} }

// Start prints the header.
func (t *Terminal) Start(info flow.Info) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.info, t.now, t.printed = info, info.Start, info.Start
	t.line(t.rule("=", "vmtb "+cmp.Or(info.Version, "(unknown version)")))
	if info.DUT != "" {
		t.line("DUT: " + run.Escape(info.DUT))
	}
	if s := info.Participants(); s != "" {
		t.line(run.Escape(s))
	}
	for _, f := range info.Environment {
		if f.Name == "driver" {
			t.line("driver: " + run.Escape(f.Value))
		}
	}
	t.line("run directory: " + run.Escape(info.Dir))
	if info.TimeoutScale != 1 {
		t.line(fmt.Sprintf("timeouts: x %g", info.TimeoutScale))
	}
	for _, n := range info.Notes {
		t.line("note: " + run.Escape(n))
	}
	t.line(fmt.Sprintf("selected: %d\n", len(info.Plan)))
}

// Entry adds the next entry, and prints it if the options ask for it.
func (t *Terminal) Entry(e flow.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.see(e.Time)
	t.summary.Add(e)
	switch e.Event {
	case flow.Begin:
		t.begin(e)
	case flow.End:
		t.end(e)
	case flow.Log:
		t.keep(e)
		if t.o.Verbose > 1 && levelOf(e) >= t.o.LogFrom {
			t.progress("  " + logLine(e))
		}
	}
	t.draw()
}

// Tick sets the present time while there are no entries.
func (t *Terminal) Tick(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.see(now)
	if !t.o.Live && t.now.Sub(t.printed) >= Heartbeat {
		if doing := t.doing(math.MaxInt / 2); doing != "" {
			t.progress("still " + doing)
		}
	}
	t.draw()
}

// Follow calls Tick once a second until ctx ends.
func (t *Terminal) Follow(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			t.Tick(now)
		}
	}
}

// Close prints the end of the report, even if the journal has no end. It returns the first error of
// the writer.
func (t *Terminal) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.info.Dir != "" && !t.over {
		t.cutOff()
		t.finish()
	}
	if errors.Is(t.err, syscall.EPIPE) { // the reader is gone, as in "vmtb run | head"
		return nil
	}
	return t.err
}

func (t *Terminal) see(now time.Time) {
	if now.After(t.now) {
		t.now = now
	}
}

func (t *Terminal) begin(e flow.Entry) {
	t.open.Begin(e, struct{}{})
	if e.Phase != flow.PhaseStep {
		t.recent = slices.DeleteFunc(t.recent, sameFixture(e))
	}
	if e.Dir != "" && e.ID.Case == "" {
		if t.folders == nil {
			t.folders = map[flow.ID]string{}
		}
		t.folders[e.ID] = e.Dir
	}
	tell := t.o.Verbose > 1 || t.o.Verbose > 0 && !t.o.Live
	switch {
	case !tell || e.Phase == flow.PhaseRun:
	case e.Phase == flow.PhaseStep:
		t.progress("  " + run.Escape(e.Name))
	default:
		t.progress(activity(e))
	}
}

func (t *Terminal) end(e flow.Entry) {
	t.open.End(e)
	if e.Duration > 0 && e.Phase != flow.PhaseRun && e.Phase != flow.PhaseStep {
		t.timed = append(t.timed, e)
	}
	switch e.Phase {
	case flow.PhaseRun:
		t.finish()
	case flow.PhaseCase:
		t.caseEnd(e)
	case flow.PhaseStep:
		if e.Result != "" {
			t.keep(e)
		}
	case flow.PhaseReset, flow.PhaseTearDown, flow.PhaseRestore:
		if e.Result != "" {
			t.fail(e)
			t.line(fmt.Sprintf("%s %s %s%s", run.Escape(e.ID.String()), e.Phase, t.word(e.Result), took(e)+run.On(e)))
		}
	}
}

func (t *Terminal) caseEnd(e flow.Entry) {
	t.done++
	left := run.Escape(e.ID.String()) + " " + t.word(e.Result) + took(e) + run.On(e)
	bare := run.Escape(e.ID.String()) + " " + words[e.Result] + took(e) + run.On(e)
	switch e.Result {
	case flow.NotRun:
		return // the summary counts it; there may be hundreds
	case flow.Skip:
		t.noted = append(t.noted, e)
		left += " (" + firstLine(e.Reason) + ")"
		bare += " (" + firstLine(e.Reason) + ")"
	case flow.DmesgWarn:
		t.noted = append(t.noted, e)
	case flow.Pass:
	default:
		t.fail(e)
	}
	if e.Quarantined && e.Result != flow.Pass && e.Result != flow.Skip {
		left += " (quarantined)"
		bare += " (quarantined)"
	}
	if t.o.Verbose < 0 && (e.Result == flow.Pass || e.Result == flow.Skip) {
		return
	}
	percent := fmt.Sprintf("[%3d%%]", 100*t.done/max(1, len(t.info.Plan)))
	pad := max(2, t.width()-run.Width(bare)-len(percent)-1)
	t.line(left + strings.Repeat(" ", pad) + percent)
}

// keep keeps a log line for the details of a later failure.
func (t *Terminal) keep(e flow.Entry) {
	const most = 20
	t.recent = append(t.recent, e)
	t.recent = t.recent[max(0, len(t.recent)-most):]
}

func (t *Terminal) fail(e flow.Entry) {
	same, other := sameFixture(e), func(o flow.Entry) bool { return !sameFixture(e)(o) }
	t.failures = append(
		t.failures, failure{e, slices.DeleteFunc(slices.Clone(t.recent), other), t.folders[e.ID.Fixture()]},
	)
	t.recent = slices.DeleteFunc(t.recent, same)
}

// sameFixture returns a function that reports whether an entry is about the same fixture as e. In a
// merged run several fixtures are active at once.
func sameFixture(e flow.Entry) func(flow.Entry) bool {
	return func(o flow.Entry) bool { return o.ID.Fixture() == e.ID.Fixture() }
}

// line prints a line above the status line.
func (t *Terminal) line(s string) {
	t.erase()
	t.print(s + "\n")
	t.printed = t.now
}

// progress prints a line that is not a result, with the time since the begin of the run.
func (t *Terminal) progress(s string) {
	t.line(t.paint(dim, "  "+clock(t.now.Sub(t.info.Start))+"  "+s))
}

func (t *Terminal) print(s string) {
	if t.err == nil {
		_, t.err = io.WriteString(t.w, s)
	}
}

// dir returns the path of a folder of the run directory, so that a user can open it.
func (t *Terminal) dir(folder string) string { return filepath.Join(t.info.Dir, folder) }
