package flow

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// runGroup runs the cases that share a fixture.
func (r *runner) runGroup(ctx context.Context, items []Item) {
	f := &fixture{runner: r, group: items[0].group, item: items[0], id: items[0].ID.Fixture(), dir: filepath.Dir(items[0].Dir)}
	for _, it := range items {
		f.prepare(ctx)
		switch cause := stopped(ctx); {
		case cause != nil:
			r.unrun(it, verdict{NotRun, cause.Error(), ""})
		case f.state == failed:
			r.unrun(it, f.verdict)
		default:
			r.runCase(ctx, f, it)
		}
	}
	f.takeDown(ctx)
}

// unrun gives a result to a case that does not run.
func (r *runner) unrun(it Item, v verdict) {
	r.journal.append(Entry{Event: End, Phase: PhaseCase, ID: it.ID, Dir: it.Dir, Result: v.result, Reason: v.reason, Blame: v.blame})
}

func (r *runner) runCase(ctx context.Context, f *fixture, it Item) {
	t := &T{id: it.ID, env: f.env, dir: filepath.Join(r.info.Dir, it.Dir)}
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		r.unrun(it, verdict{Error, err.Error(), BlameInfra})
		return
	}
	l := limits{r.scaled(it.Timeout), r.scaled(r.Grace), r.Kill}
	r.journal.append(Entry{Event: Begin, Phase: PhaseCase, ID: it.ID, Dir: it.Dir, Timeout: l.timeout})
	v := f.value
	how := call(ctx, l, func(ctx context.Context) error {
		it.run(ctx, t, v)
		return nil
	})
	f.state = used
	if p := (*panicError)(nil); how.expired || how.abandoned || errors.As(how.err, &p) {
		f.state = broken
	}
	e := t.end(how)
	e.Event, e.Phase, e.ID, e.Dir, e.Duration = End, PhaseCase, it.ID, it.Dir, how.took
	r.journal.append(e)
	r.evidence(ctx, how, it.ID, t.dir)
}
