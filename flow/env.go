package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"vmtb/bench/undo"
)

// Resources carry the bench from the program to the fixtures, one value of each type.
type Resources struct{ values map[any]any }

type resourceKey[T any] struct{}

// Provide makes v the resource of type T, in place of an earlier one.
func Provide[T any](r *Resources, v T) {
	if r.values == nil {
		r.values = map[any]any{}
	}
	r.values[resourceKey[T]{}] = v
}

// Provided returns the resource of type T, and whether there is one. r may be nil.
func Provided[T any](r *Resources) (v T, ok bool) {
	if r != nil {
		v, ok = r.values[resourceKey[T]{}].(T)
	}
	return v, ok
}

// Resource is the resource of type T. That there is none is a mistake in the program: the error
// begins with "BUG:".
func Resource[T any](env *Env) (T, error) {
	if v, ok := Provided[T](env.resources); ok {
		return v, nil
	}
	var zero T
	return zero, fmt.Errorf("BUG: no resource of type %s", fmt.Sprintf("%T", &zero)[1:])
}

// An Env is what a fixture has of the engine, from its SetUp to the end of its TearDown.
type Env struct {
	Log *slog.Logger // lines go into the journal and to Options.Log
	Dir string       // an existing folder for this fixture; a fixture that is built again gets another

	id        ID
	undo      Undo
	journal   *journal
	resources *Resources
	scale     float64
	watch     Watcher

	later []need // those whose answer was ErrLater

	mu       sync.Mutex
	cleanups []func(context.Context) error
	unwatch  []func()
	closed   bool
}

// ErrLater is what the check of a [Need] returns when only a prepared host has the answer, for
// instance one with the driver loaded. SetUp then prepares the host, and calls [Env.CheckNeeds]
// before it takes its time for the rest. Without that call the engine makes it after SetUp.
var ErrLater = errors.New("only known after preparation of the host")

// CheckNeeds checks the needs again whose answer was [ErrLater], for SetUp, which returns its
// error as it is. If a need is not met the cases are skipped.
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

// An unmetError says that a need is not met.
type unmetError struct{ reason string }

func (e *unmetError) Error() string { return e.reason }

// Scaled is d multiplied by the run's timeout scale.
func (e *Env) Scaled(d time.Duration) time.Duration { return scaled(d, e.scale) }

func scaled(d time.Duration, scale float64) time.Duration { return time.Duration(float64(d) * scale) }

// Do changes the host: r is journalled, then change is made, so that another process can undo it.
// ctx must come from the phase or case that is running; flow code that was abandoned, or whose
// fixture is gone, gets an error matching [ErrAbandoned] and changes nothing.
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

// ErrAbandoned refuses the host to code that missed its deadline and was given up.
var ErrAbandoned = errors.New("abandoned: this code missed its deadline and may no longer change the host")

// Cleanup adds f to what runs after TearDown, newest first, also when SetUp failed. It is for what
// another process could not undo: connections, goroutines. f has the tear-down's deadline.
func (e *Env) Cleanup(f func(ctx context.Context) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cleanups = append(e.cleanups, f)
}

// Watch gives the log of a machine, a file that grows, to those who look for what its kernel should
// not say. It ends with the fixture.
func (e *Env) Watch(machine, path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.unwatch = append(e.unwatch, e.watch.Follow(machine, path))
	}
}

// Step runs f and journals its name, begin and end, so that a user sees what is going on and how
// long it took.
func (e *Env) Step(ctx context.Context, name string, f func(ctx context.Context) error) error {
	return step(ctx, e.journal, e.id, name, f)
}

func step(ctx context.Context, j *journal, id ID, name string, f func(ctx context.Context) error) error {
	start := time.Now()
	j.append(Entry{Event: Begin, Phase: PhaseStep, ID: id, Name: name})
	e := Entry{Event: End, Phase: PhaseStep, ID: id, Name: name, Result: Incomplete} // stays so when f does not return
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

// cleanUp runs the clean-ups, newest first, each of them whatever became of the others.
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
