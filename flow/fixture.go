package flow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"vmtb/bench/undo"
)

// An Undo is the journal of host changes. It combines a [undo.Log] with the system on which it
// undoes.
type Undo interface {
	// Do journals rec, then makes the change.
	Do(ctx context.Context, rec undo.Record, change func() error) error
	// Undo undoes the changes that are not undone yet.
	Undo(ctx context.Context) error
}

// state is the state of a fixture. The package comment has the diagram.
type state int

const (
	cold state = iota
	ready
	used
	broken
	failed
)

// A fixture serves the cases of one group, one after the other.
type fixture struct {
	*runner
	group *group
	item  Item // any of its cases
	id    ID
	dir   string // folder of the group, relative to the run directory

	state state
	env   *Env // of the present build; nil before the first phase and after the tear-down
	value any  // returned by SetUp of the present build; nil if there is none
	verdict
	checked bool      // the needs were checked and are met
	found   []Finding // findings of phases before the next case; they count for that case
}

// A verdict is the reason why cases cannot run.
type verdict struct {
	result Result
	reason string
	blame  Blame
	after  string // Entry.After
}

// prepare makes the fixture ready for the next case. If that is impossible, the fixture's state
// becomes failed, which is final.
func (f *fixture) prepare(ctx context.Context) {
	if f.state == used && stopped(ctx) == nil {
		f.reset(ctx)
	}
	if f.state == broken && f.kept != f {
		f.takeDown(ctx)
		f.state = cold
	}
	if f.state == cold && stopped(ctx) == nil {
		f.build(ctx)
	}
}

func (f *fixture) reset(ctx context.Context) {
	f.state = ready
	if f.group.reset == nil {
		return
	}
	env, v := f.env, f.value
	how := f.phase(ctx, PhaseReset, f.item.ResetTimeout, func(ctx context.Context) error {
		return f.group.reset(ctx, env, v)
	})
	if how.failure() != nil {
		f.state = broken
	}
}

func (f *fixture) build(ctx context.Context) {
	if err := f.newEnv(); err != nil {
		f.fail(verdict{result: Error, reason: fmt.Sprintf("make the fixture's folder: %v", err), blame: BlameInfra})
		return
	}
	if !f.checked && !f.checkNeeds(ctx) {
		return
	}
	var v any // SetUp's goroutine may still write v and unmet after a timeout: do not read them then
	var unmet *unmetError
	env := f.env
	how := f.phase(ctx, PhaseSetUp, f.item.SetUpTimeout, func(ctx context.Context) error {
		made, err := f.group.setUp(ctx, env)
		if err == nil {
			v, err = made, env.CheckNeeds(ctx)
		}
		if errors.As(err, &unmet) {
			return nil
		}
		return err
	})
	if err := how.failure(); err != nil {
		f.fail(verdict{
			result: Error, reason: withFindings("set-up failed: "+err.Error(), f.found), blame: BlameOf(err),
		})
		return
	}
	f.value, f.state = v, ready
	if unmet != nil {
		f.fail(verdict{result: Skip, reason: unmet.reason})
	}
}

// checkNeeds runs the check of each need. The first need that is not met fails the fixture.
func (f *fixture) checkNeeds(ctx context.Context) bool {
	f.checked = true
	if len(f.group.needs) == 0 {
		return true
	}
	var unmet verdict // the check's goroutine may still write it after a timeout: do not read it then
	env := f.env
	how := f.phase(ctx, PhaseNeeds, needsTimeout, func(ctx context.Context) error {
		for _, n := range f.group.needs {
			reason, err := n.check(ctx, env)
			if errors.Is(err, ErrLater) {
				env.later = append(env.later, n)
				continue
			}
			if err != nil {
				return fmt.Errorf("need %s: %w", n.name, err)
			}
			if reason != "" {
				unmet = verdict{result: Skip, reason: n.reason(reason)}
				return nil
			}
		}
		return nil
	})
	switch err := how.failure(); {
	case err != nil:
		f.fail(verdict{result: Error, reason: err.Error(), blame: BlameOf(err)})
	case unmet.result != "":
		f.fail(unmet)
	}
	return f.state != failed
}

func (f *fixture) newEnv() error {
	dir, err := newFixtureDir(filepath.Join(f.info.Dir, f.dir))
	if err != nil {
		return err
	}
	f.env = &Env{
		Log: newLogger(f.journal, f.id, f.Log), Dir: dir,
		id: f.id, undo: f.undo, journal: f.journal, resources: f.Resources, scale: f.TimeoutScale, watch: f.Watch,
	}
	return nil
}

// newFixtureDir creates the next free numbered folder of a group. Earlier rounds, and the run
// before a resume, have used the lower numbers.
func newFixtureDir(group string) (string, error) {
	if err := os.MkdirAll(group, 0o755); err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		dir := filepath.Join(group, fmt.Sprintf("fixture-%d", n))
		if err := os.Mkdir(dir, 0o755); !errors.Is(err, fs.ErrExist) {
			return dir, err
		}
	}
}

func (f *fixture) fail(v verdict) { f.state, f.verdict = failed, v }

// takeDown ends the present build: it runs TearDown and the clean-ups, unless the run was killed,
// and then replays the undo journal.
func (f *fixture) takeDown(ctx context.Context) {
	if f.env == nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	env, v := f.env, f.value
	tearDown := v != nil && f.group.tearDown != nil
	if (tearDown || env.hasCleanups()) && !f.killed() {
		f.phase(ctx, PhaseTearDown, f.item.TearDownTimeout, func(ctx context.Context) (err error) {
			if tearDown {
				err = recovered(func() error { return f.group.tearDown(ctx, env, v) })
			}
			return errors.Join(err, env.cleanUp(ctx))
		})
	}
	env.close()
	f.restore(ctx)
	f.env, f.value = nil, nil
}

// restore replays the undo journal. Only its deadline can cut it short, not an interrupt: it is
// quick, and without it the host stays changed.
func (f *fixture) restore(ctx context.Context) {
	if f.undo == nil {
		return
	}
	how := f.phase(ctx, PhaseRestore, restoreTimeout, f.undo.Undo)
	if err := how.failure(); err != nil {
		f.stop(errors.New("the host is not restored: " + err.Error()))
	}
}

// phase runs one phase of the fixture and journals it.
func (f *fixture) phase(ctx context.Context, p Phase, timeout time.Duration, do func(context.Context) error) ending {
	l := limits{f.scaled(timeout), f.scaled(f.Grace), f.Kill}
	if p == PhaseRestore {
		l.kill = nil
	}
	e := Entry{Event: Begin, Phase: p, ID: f.id, Timeout: l.timeout}
	if f.env != nil {
		e.Dir = relative(f.info.Dir, f.env.Dir)
	}
	f.Watch.Enter(filepath.Join(f.info.Dir, e.Dir))
	f.journal.append(e)
	how := call(ctx, l, do)
	e.Event, e.Timeout, e.Duration, e.Abandoned = End, 0, how.took, how.abandoned
	if err := how.failure(); err != nil {
		e.Result, e.Reason, e.Blame = Error, err.Error(), BlameOf(err)
		if pe := (*panicError)(nil); errors.As(err, &pe) {
			e.Stack, e.Where = pe.stack, pe.where
		}
	}
	found := f.leave(p, f.id, f.item.allowClass)
	if p == PhaseTearDown || p == PhaseRestore {
		judge(&e, found)
	} else {
		f.found = append(f.found, found...)
	}
	f.journal.append(e)
	f.evidence(ctx, how, f.id, filepath.Join(f.info.Dir, e.Dir))
	return how
}

// evidence saves files about a missed deadline: the stacks of goroutines, and the files of
// Options.Evidence.
func (r *runner) evidence(ctx context.Context, how ending, id ID, dir string) {
	if how.abandoned {
		if err := os.WriteFile(filepath.Join(dir, "goroutines.txt"), stacks(), 0o644); err != nil {
			r.journal.append(Entry{Event: Log, ID: id, Level: "ERROR", Message: err.Error()})
		}
	}
	if !how.expired || r.Evidence == nil {
		return
	}
	l := limits{r.scaled(evidenceTimeout), r.scaled(r.Grace), r.Kill}
	got := call(context.WithoutCancel(ctx), l, func(ctx context.Context) error { r.Evidence(ctx, id, dir); return nil })
	if err := got.failure(); err != nil {
		r.journal.append(Entry{Event: Log, ID: id, Level: "ERROR", Message: "collect evidence: " + err.Error()})
	}
}

func (r *runner) killed() bool {
	select {
	case <-r.Kill:
		return true
	default:
		return false
	}
}

// stacks returns the stacks of all goroutines.
func stacks() []byte {
	buf := make([]byte, 4<<20)
	return buf[:runtime.Stack(buf, true)]
}

func relative(base, path string) string {
	rel, err := filepath.Rel(base, path)
	if err != nil {
		return path
	}
	return rel
}
