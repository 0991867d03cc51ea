package flow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// runGroup runs the cases that share a fixture. The policy decides how often they run; each round
// has a new fixture.
func (r *runner) runGroup(ctx context.Context, items []Item) {
	for {
		due := r.due(items)
		if len(due) == 0 {
			return
		}
		r.runRound(ctx, due)
		if stopped(ctx) != nil {
			return
		}
	}
}

func (r *runner) runRound(ctx context.Context, items []Item) {
	first := items[0]
	f := &fixture{runner: r, group: first.group, item: first, id: first.ID.Fixture(), dir: filepath.Dir(first.Dir)}
	for _, it := range items {
		if v, unmet := r.unmet(it); unmet && stopped(ctx) == nil {
			r.unrun(nil, it, v)
			continue
		}
		f.prepare(ctx)
		switch cause := stopped(ctx); {
		case cause != nil && r.cases[it.ID].open():
			r.unrun(nil, it, verdict{result: NotRun, reason: cause.Error()})
		case cause != nil: // the case has a result already, and gets no other attempt
		case f.state == failed:
			r.unrun(f, it, f.verdict)
		default:
			r.runCase(ctx, f, it)
		}
	}
	if r.kept != f {
		f.takeDown(ctx)
	}
}

// unmet reports whether the case named by it.After ran and did not pass, and returns the verdict
// for it.
func (r *runner) unmet(it Item) (verdict, bool) {
	before := r.cases[it.before()]
	if it.After == "" || before.open() || before.passed() {
		return verdict{}, false
	}
	return verdict{
		result: Skip, reason: fmt.Sprintf("%s did not pass: %s", it.After, before.last), after: it.After,
	}, true
}

// unrun journals a result for a case that does not run. f is the fixture that caused this, or nil.
func (r *runner) unrun(f *fixture, it Item, v verdict) {
	e := r.caseEntry(End, it)
	e.Result, e.Reason, e.Blame, e.After = v.result, v.reason, v.blame, v.after
	r.journal.append(e)
	r.abortOn(f, it, e, nil)
}

// caseEntry returns an entry for the next attempt of a case.
func (r *runner) caseEntry(event Event, it Item) Entry {
	e := Entry{Event: event, Phase: PhaseCase, ID: it.ID, Dir: it.Dir}
	if n := r.cases[it.ID].next(); n > 1 {
		e.Attempt, e.Dir = n, fmt.Sprintf("%s.%d", it.Dir, n)
	}
	e.Quarantined = event == End && it.Quarantine != nil
	return e
}

func (r *runner) runCase(ctx context.Context, f *fixture, it Item) {
	begin, e := r.caseEntry(Begin, it), r.caseEntry(End, it)
	begin.Mark = r.cases[it.ID].mark
	t := &T{id: it.ID, env: f.env, dir: filepath.Join(r.info.Dir, begin.Dir), begin: begin, reboot: r.Reboot}
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		r.unrun(f, it, verdict{result: Error, reason: err.Error(), blame: BlameInfra})
		return
	}
	l := limits{r.scaled(it.Timeout), r.scaled(r.Grace), r.Kill}
	begin.Timeout = l.timeout
	r.Watch.Enter(t.dir)
	r.journal.append(begin)
	v := f.value
	how := call(ctx, l, func(ctx context.Context) error {
		it.run(ctx, t, v)
		return nil
	})
	f.state = used
	if p := (*panicError)(nil); how.expired || how.abandoned || errors.As(how.err, &p) {
		f.state = broken
	}
	t.end(how, &e)
	found := slices.Concat(f.found, r.leave(PhaseCase, it.ID, it.allow))
	f.found = nil
	judge(&e, found)
	r.journal.append(e)
	r.abortOn(f, it, e, found)
	r.evidence(ctx, how, it.ID, t.dir)
}
