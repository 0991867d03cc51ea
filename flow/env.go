package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"vmtb/bench/undo"
)

// Resources pass the bench from the program to the fixtures. They hold one value of each type.
type Resources struct{ values map[any]any }

type resourceKey[T any] struct{}

// Provide sets v as the resource of type T. It replaces an earlier one.
func Provide[T any](r *Resources, v T) {
	if r.values == nil {
		r.values = map[any]any{}
	}
	r.values[resourceKey[T]{}] = v
}

// Provided returns the resource of type T; ok is false if there is none. r may be nil.
func Provided[T any](r *Resources) (v T, ok bool) {
	if r != nil {
		v, ok = r.values[resourceKey[T]{}].(T)
	}
	return v, ok
}

// Resource returns the resource of type T. A missing resource is a mistake in the program: the
// error begins with "BUG:".
func Resource[T any](env *Env) (T, error) {
	if v, ok := Provided[T](env.resources); ok {
		return v, nil
	}
	var zero T
	return zero, fmt.Errorf("BUG: no resource of type %s", fmt.Sprintf("%T", &zero)[1:])
}

// An Env connects a fixture to the engine, from its SetUp to the end of its TearDown.
type Env struct {
	Log *slog.Logger // writes to the journal and to Options.Log
	Dir string       // an existing folder for this fixture; a fixture that is built again gets a new one

	id        ID
	undo      Undo
	journal   *journal
	resources *Resources
	scale     float64
	watch     Watcher

	later []need // needs whose check returned ErrLater

	mu       sync.Mutex
	cleanups []func(context.Context) error
	unwatch  []func()
	closed   bool
}

// ErrLater is the error that the check of a [Need] returns if it needs a prepared host, for
// instance a loaded driver. SetUp then prepares the host, and calls [Env.CheckNeeds] before its
// slow work. If SetUp does not call it, the engine does so after SetUp.
var ErrLater = errors.New("known only after the host is prepared")

// CheckNeeds checks the needs again that returned [ErrLater]. SetUp calls it, and returns its error
// unchanged. If a need is not met, the cases are skipped.
func (e *Env) CheckNeeds(ctx context.Context) error {
	later := e.later
	e.later = nil
	for _, n := range later {
		reason, err := n.check(ctx, e)
		if err != nil {
			return fmt.Errorf("need %s: %w", n.name, err)
		}
		if reason != "" {
			return &unmetError{n.reason(reason)}
		}
	}
	return nil
}

// An unmetError is the error of a need that is not met.
type unmetError struct{ reason string }

func (e *unmetError) Error() string { return e.reason }

// Scaled returns d multiplied by the timeout scale of the run.
func (e *Env) Scaled(d time.Duration) time.Duration { return scaled(d, e.scale) }

func scaled(d time.Duration, scale float64) time.Duration { return time.Duration(float64(d) * scale) }

// Do changes the host: it journals r, then calls change, so that another process can undo the
// change. ctx must come from the running phase or case. If the calling code was abandoned, or its
// fixture is gone, Do changes nothing and returns [ErrAbandoned].
func (e *Env) Do(ctx context.Context, r undo.Record, change func() error) error {
	if err := e.allowed(ctx); err != nil {
		return err
	}
	if e.undo == nil {
		return fmt.Errorf("BUG: this run has no undo journal for %s", r.Kind())
	}
	return e.undo.Do(ctx, r, change)
}

func (e *Env) allowed(ctx context.Context) error {
	t, ok := ctx.Value(tokenKey{}).(*token)
	if !ok {
		return errors.New("BUG: Env.Do with a context that flow did not make")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.abandoned.Load() || e.closed {
		return ErrAbandoned
	}
	return nil
}

// ErrAbandoned is the error of [Env.Do] for code that missed its deadline and was abandoned.
var ErrAbandoned = errors.New("abandoned: this code missed its deadline and may no longer change the host")

// Cleanup registers f to run after TearDown, the newest first, even if SetUp failed. It is for
// things that another process cannot undo: connections, goroutines. f runs under the deadline of
// the tear-down.
func (e *Env) Cleanup(f func(ctx context.Context) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cleanups = append(e.cleanups, f)
}

// Watch adds the log of a machine, a growing file, to the watched kernel logs. The watch ends with
// the fixture.
func (e *Env) Watch(machine, path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.unwatch = append(e.unwatch, e.watch.Follow(machine, path))
	}
}

// Facts journals properties of a machine that were not known when the run began: of a guest, or with
// [SourceHost] of the host, such as a module that the fixture has loaded.
func (e *Env) Facts(machine string, facts []Fact) {
	if len(facts) == 0 {
		return
	}
	words := make([]string, len(facts))
	for i, f := range facts {
		words[i] = f.Name + " " + f.Value
	}
	e.journal.append(Entry{
		Event: Log, ID: e.id, Level: slog.LevelInfo.String(), Message: machine + ": " + strings.Join(words, ", "),
		Machine: machine, Facts: facts,
	})
}

// Step runs f and journals its name, begin and end. The user sees the step and its duration.
func (e *Env) Step(ctx context.Context, name string, f func(ctx context.Context) error) error {
	return step(ctx, e.journal, e.id, name, f)
}

func step(ctx context.Context, j *journal, id ID, name string, f func(ctx context.Context) error) error {
	start := time.Now()
	j.append(Entry{Event: Begin, Phase: PhaseStep, ID: id, Name: name})
	e := Entry{Event: End, Phase: PhaseStep, ID: id, Name: name, Result: Incomplete} // stays if f does not return
	defer func() {
		e.Duration = time.Since(start)
		j.append(e)
	}()
	err := f(ctx)
	e.Result, e.Reason, e.Blame = "", "", ""
	if err != nil {
		e.Result, e.Reason, e.Blame = Error, err.Error(), BlameOf(err)
	}
	return err
}

func (e *Env) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for _, stop := range e.unwatch {
		stop()
	}
}

func (e *Env) hasCleanups() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.cleanups) > 0
}

// cleanUp runs all clean-ups, the newest first, and joins their errors.
func (e *Env) cleanUp(ctx context.Context) (err error) {
	for {
		e.mu.Lock()
		n := len(e.cleanups)
		if n == 0 {
			e.mu.Unlock()
			return err
		}
		f := e.cleanups[n-1]
		e.cleanups = e.cleanups[:n-1]
		e.mu.Unlock()
		err = errors.Join(err, recovered(func() error { return f(ctx) }))
	}
}
