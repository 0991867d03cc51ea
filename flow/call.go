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

// A token marks the context of one phase or case. Every context that flow code derives from it has
// the token, WithoutCancel included. [Env.Do] finds its caller by the token.
type token struct{ abandoned atomic.Bool }

type tokenKey struct{}

// An ending describes how a call of flow code ended.
type ending struct {
	err         error // returned by the code, or *panicError, or errExited
	took        time.Duration
	expired     bool // the call missed its deadline
	interrupted bool // the context was cancelled from outside
	abandoned   bool // the call did not return in the grace period; err is nil
	timeout     time.Duration
	cause       error // why it was interrupted
}

var (
	errDeadline = errors.New("deadline missed")
	errExited   = errors.New("flow code called runtime.Goexit")
	errKilled   = errors.New("interrupted again: killed")
)

const killGrace = time.Second

// limits bound a call. Closing kill ends the call and shortens the grace period.
type limits struct {
	timeout, grace time.Duration
	kill           <-chan struct{}
}

// call runs f in a goroutine of its own and catches its panics. If f does not return after its
// deadline and the grace period, call abandons the goroutine.
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
		defer func() { done <- err }() // a deferred call: it also runs after Goexit
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

// late waits for a call whose context has ended, for at most the grace period. kill shortens the
// wait.
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

// cutOff describes how the call was ended from outside; "" if the call ended by itself.
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
		s += " and did not return; abandoned"
	}
	return s
}

// failure returns an error that describes why the phase failed; nil if it succeeded.
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

// panicker returns the file and line of the panic. A deferred function must call it.
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
