package bench

import (
	"context"
	"fmt"
)

// A Process is a command that was started with [Machine.Start]. All methods may be called from several goroutines at
// once, and after its end too.
type Process interface {
	// PID is the number of the process on its machine.
	PID() int

	// Signal sends a signal to the process alone. One that has ended is an error matching [os.ErrProcessDone].
	Signal(ctx context.Context, sig int) error

	// Wait waits for the end of the process and of its output. It gives up with ctx, and with an error when the machine
	// falls silent; the process goes on, and Wait may be called again.
	Wait(ctx context.Context) (Result, error)

	// Kill ends the process and what it started: politely (SIGTERM), and after the command's Grace
	// by force. It returns what became of the process, at once if that has ended already; the error
	// says that it could not be ended. A guest's processes are found wherever they went, the host's
	// in the process group that each command leads.
	Kill(ctx context.Context) (Result, error)
}

// Finish waits for the end of p. When the wait fails, because ctx ended above all, p is killed, and
// the Result beside the error is what became of it.
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
