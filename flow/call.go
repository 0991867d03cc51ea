package flow

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"vmtb/internal/prose"
)

// A token is in the context of everything that flow code does in one phase or case, also in
// contexts derived with WithoutCancel. That is how [Env.Do] knows whom it serves.
type token struct{ abandoned atomic.Bool }

type tokenKey struct{}

// An ending is how a call of flow code ended.
type ending struct {
	err         error // returned, or *panicError, or errExited
	took        time.Duration
	expired     bool // it missed its deadline
	interrupted bool // its context was cancelled from outside
	abandoned   bool // it did not come back in the grace period; err is nil
	timeout     time.Duration
	cause       error // of interrupted
}

var (
	errDeadline = errors.New("deadline missed")
	errExited   = errors.New("flow code called runtime.Goexit")
	errKilled   = errors.New("interrupted again: killed")
)

const killGrace = time.Second

// limits of a call. kill ends it without the grace.
type limits struct {
	timeout, grace time.Duration
	kill           <-chan struct{}
}

// call runs f in a goroutine of its own, catches its panics and gives it up when it does not heed
// its deadline.
func call(parent context.Context, l limits, f func(context.Context) error) ending {
	start := time.Now()
	t := &token{}
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, tokenKey{}, t))
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, l.timeout, errDeadline)
	defer stop()

	done := make(chan error, 1)
	go func() {
		err := errExited
		defer func() { done <- err }() // also after Goexit
		err = recovered(func() error { return f(ctx) })
	}()

	e := ending{timeout: l.timeout}
	select {
	case e.err = <-done:
	case <-ctx.Done():
		e.abandoned, e.err = late(done, l)
	case <-l.kill:
		cancel(errKilled)
		e.abandoned, e.err = late(done, l)
	}
	t.abandoned.Store(e.abandoned)
	if ctx.Err() != nil {
		e.cause = stopped(ctx)
		e.expired = errors.Is(e.cause, errDeadline)
		e.interrupted = !e.expired
	}
	e.took = time.Since(start)
	return e
}

// late waits for a call whose context has ended: for the grace period, which kill cuts short.
func late(done <-chan error, l limits) (abandoned bool, err error) {
	grace := time.NewTimer(l.grace)
	defer grace.Stop()
	for kill := l.kill; ; {
		select {
		case err := <-done:
			return false, err
		case <-grace.C:
			return true, nil
		case <-kill:
			kill = nil
			grace.Reset(min(l.grace, killGrace))
		}
	}
}

// cutOff says how a call that did not end by itself was ended; "" when it was not.
func (e ending) cutOff() string {
	var s string
	switch {
	case e.expired:
		s = "missed its deadline of " + prose.Exact(e.timeout)
	case e.interrupted:
		s = e.cause.Error()
	default:
		return ""
	}
	if e.abandoned {
		s += " and did not come back; abandoned"
	}
	return s
}

// failure is nil for a phase that did its work, else an error that says how it did not.
func (e ending) failure() error {
	switch s := e.cutOff(); {
	case e.abandoned:
		return errors.New(s)
	case e.err != nil && s != "":
		return fmt.Errorf("%s: %w", s, e.err)
	}
	return e.err
}

// A panicError is a panic of flow code.
type panicError struct {
	value        any
	stack, where string
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// recovered runs f and turns a panic into a *panicError.
func recovered(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: string(debug.Stack()), where: panicker()}
		}
	}()
	return f()
}

// panicker is the file and line that panicked, seen from a deferred function.
func panicker() string {
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return short(f.File, f.Line)
		}
		if !more {
			return ""
		}
	}
}
