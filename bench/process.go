package bench

import (
	"context"
	"fmt"
)

// A Process is a command that was started with [Machine.Start]. All methods may be called from
// several goroutines at once, and after the process has ended.
type Process interface {
	// PID returns the process's number on its machine.
	PID() int

	// Signal sends a signal to this process only. If the process has ended, the error matches
	// [os.ErrProcessDone].
	Signal(ctx context.Context, sig int) error

	// Wait waits until the process and its output have ended. It fails when ctx ends, or when the
	// machine stops answering. The process keeps running then, and Wait may be called again.
	Wait(ctx context.Context) (Result, error)

	// Kill ends the process and its descendants: with SIGTERM, and after the command's Grace with
	// SIGKILL. It returns how the process ended, at once if it has ended already. The error says
	// that the process could not be ended. In a guest, Kill finds all descendants. On the host it
	// ends the process group that each command leads.
	Kill(ctx context.Context) (Result, error)
}

// Finish waits until p ends. If the wait fails, usually because ctx ended, Finish kills p. The
// Result beside the error then says how p ended.
func Finish(ctx context.Context, p Process) (Result, error) {
	r, err := p.Wait(ctx)
	if err == nil {
		return r, nil
	}
	r, left := p.Kill(context.WithoutCancel(ctx))
	if left != nil {
		err = fmt.Errorf("%w; and it could not be killed: %w", err, left)
	}
	return r, err
}
