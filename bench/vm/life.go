package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// A life is what all parts of a machine share: its name in messages, the scale of its deadlines,
// and its end. The life ends when nothing can be asked of the guest any more, because QEMU has
// ended or the guest has panicked.
type life struct {
	name  string
	scale float64                 // of every deadline
	ctx   context.Context         // ends with the life; its cause is the reason
	end   context.CancelCauseFunc // ends the life; the first reason counts
}

func newLife(name string) *life {
	l := &life{name: name, scale: 1}
	l.ctx, l.end = context.WithCancelCause(context.Background())
	return l
}

// String returns the machine's name.
func (l *life) String() string { return l.name }

// over reports whether the life has ended.
func (l *life) over() bool { return l.ctx.Err() != nil }

// reason returns why the life has ended, nil if it has not.
func (l *life) reason() error { return context.Cause(l.ctx) }

func (l *life) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * l.scale) }

// explain says what err, which came of doing op, means: that the machine has ended, and why, or err
// itself.
func (l *life) explain(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, qmp.ErrClosed) { // the end of QEMU is known a moment after that of its sockets
		select {
		case <-l.ctx.Done():
		case <-time.After(15 * time.Second):
		}
	}
	if l.over() {
		return l.reason()
	}
	return fmt.Errorf("%s: %s: %w", l, op, err)
}

// bind makes ctx end with the machine's life, too.
func (l *life) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ctx, func() { cancel(l.reason()) })
	return ctx, func() { stop(); cancel(nil) }
}

func (l *life) guestError(op string, err error) error {
	return &bench.GuestError{Machine: l.name, Op: op, Err: err}
}

// cannot is the error for what a guest cannot do, and why.
func (l *life) cannot(op, format string, args ...any) error {
	return l.guestError(op, fmt.Errorf("%w: %w", bench.ErrNotAvailable, fmt.Errorf(format, args...)))
}
