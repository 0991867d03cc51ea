package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmtb/bench"
	"vmtb/internal/atomicfile"
	"vmtb/internal/flock"
	"vmtb/internal/procfs"
)

// Resume continues the run in o.Dir, whose vmtb is dead. First it undoes the changes that this vmtb
// left on the host. Then it runs the rest of the plan, in the same journal. Cases with a result
// keep it; a case that was running becomes incomplete.
//
// items are the cases of this program, such as everything registered. Resume uses Dir, Version,
// DUT, RerunIncomplete and the functions of o. The other options come from the run.
//
// If the host went down during a case, the case does not run again. If it went down in a phase of a
// fixture, the cases of that fixture do not run. With o.RerunIncomplete they do. A case that asked
// for a reboot ([T.Reboot]) is entered at its mark.
//
// Errors are a [bench.UsageError] (no run directory, the run is alive, merged, or has other flows)
// or a [bench.InfraError].
func Resume(ctx context.Context, items []Item, o Options) (Summary, error) {
	r, err := reopen(items, o)
	if err != nil {
		return Summary{}, err
	}
	return r.finish(ctx)
}

func reopen(items []Item, o Options) (*runner, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.setDefaults()
	r := &runner{Options: o, cases: map[ID]standing{}}
	if r.lock, err = relock(dir); err != nil {
		return nil, err
	}
	if err := r.load(dir, items); err != nil {
		r.lock.Close()
		return nil, err
	}
	return r, nil
}

// relock locks the directory of a dead run.
func relock(dir string) (*os.File, error) {
	if _, err := os.Stat(filepath.Join(dir, infoFile)); err != nil {
		return nil, &bench.UsageError{Err: fmt.Errorf("not a run directory: %w", err)}
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, &bench.InfraError{Op: "lock the run directory", Err: err}
	}
	err = flock.Exclusive(lock)
	switch {
	case errors.Is(err, flock.ErrInUse):
		err = &bench.UsageError{Err: fmt.Errorf("%s: that run is alive", dir), Advice: "interrupt it first"}
	case err != nil:
		err = &bench.InfraError{Op: "lock the run directory", Err: err}
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// load reads the state of the run from its locked directory, and opens its journals.
func (r *runner) load(dir string, items []Item) error {
	run, err := OpenRun(dir)
	if err != nil {
		return &bench.UsageError{Err: err}
	}
	if run.Info.Merged() {
		return &bench.UsageError{
			Err:    fmt.Errorf("%s was merged from other runs, and cannot be resumed", dir),
			Advice: "vmtb run --failed-in=" + dir + " runs what did not pass",
		}
	}
	if r.boot, err = procfs.BootID(); err != nil {
		return &bench.InfraError{Op: "resume the run", Err: err}
	}
	r.info = run.Info
	r.TimeoutScale, r.Policy = r.info.TimeoutScale, r.info.Policy
	if r.info.Plan, err = replan(run.Info.Plan, items); err != nil {
		return err
	}
	if err := r.openJournals(run); err != nil {
		return &bench.InfraError{Op: "open the journal of the run", Err: err}
	}
	return nil
}

// replan returns the plan of the run with the code, needs and deadlines of this program.
func replan(plan, items []Item) ([]Item, error) {
	byID := map[ID]Item{}
	for _, it := range items {
		byID[it.ID] = it
	}
	var out []Item
	var missing []string
	for _, planned := range plan {
		it, ok := byID[planned.ID]
		if !ok {
			missing = append(missing, planned.ID.String())
		}
		it.Dir, it.Quarantine = planned.Dir, planned.Quarantine
		out = append(out, it)
	}
	if missing != nil {
		return nil, &bench.UsageError{
			Err: fmt.Errorf("this vmtb does not have these flows of the run: %s", strings.Join(missing, ", ")),
		}
	}
	return out, nil
}

// openJournals opens the run's journal at the end of its whole lines, and the undo journal.
func (r *runner) openJournals(run *RunDir) error {
	f, err := os.OpenFile(filepath.Join(r.info.Dir, journalFile), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	err = f.Truncate(run.size)
	if err == nil && r.OpenUndo != nil {
		r.undo, err = r.OpenUndo(filepath.Join(r.info.Dir, UndoFile))
	}
	if err = errors.Join(err, atomicfile.SyncDir(r.info.Dir)); err != nil {
		return errors.Join(err, f.Close())
	}
	r.journal = &journal{f: f, seq: run.lines, size: run.size, observe: r.observe, failed: r.journalFailed}
	r.past = append([]Entry{}, run.Entries...) // never nil: nil marks a new run
	return nil
}

// resume restores the state of the runner from the journal, before anything runs.
func (r *runner) resume(ctx context.Context) {
	h := journalState{now: r.boot, boot: r.info.BootID, cases: r.cases, marks: map[ID]string{}}
	for _, e := range r.past {
		r.summary.Add(e)
		h.add(e)
	}
	r.journal.append(Entry{Event: Begin, Phase: PhaseRun, Timeout: r.info.Timeout, BootID: r.boot})
	for _, o := range slices.Backward(h.open.All()) {
		r.journal.append(h.cutOff(o.Begin, r.info.Plan))
	}
	for _, it := range r.info.Plan {
		s := r.cases[it.ID]
		s.mark = h.marks[it.ID]
		if s.open() && h.killedFixture(it.ID) {
			e := r.caseEntry(End, it)
			e.Result, e.Reason, e.Blame = Incomplete, "the host went down during a phase of the fixture", BlameHost
			r.journal.append(e)
			s = r.cases[it.ID]
		}
		if r.RerunIncomplete && s.last == Incomplete && s.mark == "" {
			s.last = ""
		}
		r.cases[it.ID] = s
	}
	f := &fixture{runner: r}
	f.restore(ctx)
}

// A journalState is the state of a run at the end of its journal.
type journalState struct {
	now  string // id of the present boot of the host
	boot string // id of the host's boot at the last entry
	open OpenPhases[struct{}]
	// cases is the standing of each case. marks has the marks of cases that asked for a reboot,
	// after the reboot.
	cases map[ID]standing
	marks map[ID]string
}

func (h *journalState) add(e Entry) {
	switch {
	case e.Event == Begin && e.Phase == PhaseRun:
		h.boot = cmp.Or(e.BootID, h.boot)
		h.open.Clear()
	case e.Event == Begin:
		h.open.Begin(e, struct{}{})
		if e.Phase == PhaseCase {
			delete(h.marks, e.ID)
		}
	case e.Event == Mark && h.boot != h.now:
		h.marks[e.ID] = e.Mark
	case e.Event == End:
		h.end(e)
	}
}

func (h *journalState) end(e Entry) {
	h.open.End(e)
	if e.Phase == PhaseCase {
		s := h.cases[e.ID]
		s.ended(e)
		h.cases[e.ID] = s
		if e.Result != Incomplete && e.Result != NotRun {
			delete(h.marks, e.ID)
		}
	}
}

// cutOff returns an end for a phase in which vmtb or the host died.
func (h *journalState) cutOff(begin Entry, plan []Item) Entry {
	e := begin
	e.Event, e.Timeout, e.Mark, e.Result = End, 0, "", Incomplete
	e.Reason, e.Blame = "vmtb was killed", BlameInfra
	switch {
	case h.boot == h.now:
	case h.marks[e.ID] != "":
		e.Reason, e.Blame = "the host was rebooted, as the case asked", ""
	default:
		e.Reason, e.Blame = "the host went down", BlameHost
	}
	if i := slices.IndexFunc(plan, func(it Item) bool { return it.ID == e.ID }); i >= 0 && e.Phase == PhaseCase {
		e.Quarantined = plan[i].Quarantine != nil
	}
	return e
}

// killedFixture reports whether the host went down in a phase of id's fixture, and no case of the
// fixture had asked for a reboot.
func (h *journalState) killedFixture(id ID) bool {
	for marked := range h.marks {
		if marked.Fixture() == id.Fixture() {
			return false
		}
	}
	return h.boot != h.now && slices.ContainsFunc(h.open.All(), func(o OpenPhase[struct{}]) bool {
		return o.Begin.Phase != PhaseCase && o.Begin.Phase != PhaseStep && o.Begin.ID == id.Fixture()
	})
}

// Past returns the entries of the run without the end of the run and the notrun results. A report
// that gets them shows the resumed run as if it was never cut off. An error is the last value.
func (d *RunDir) Past() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for e, err := range d.All() {
			past := e.Event == End && (e.Phase == PhaseRun || e.Phase == PhaseCase && e.Result == NotRun)
			if !past && !yield(e, err) {
				return
			}
		}
	}
}
