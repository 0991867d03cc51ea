package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/machines"
	"vmtb/internal/prose"
)

// exitTimeout is the exit code after --timeout, as in timeout(1).
const exitTimeout = 124

// errWaited is the cause of a context that was cancelled by --timeout.
type errWaited struct {
	what  string
	limit time.Duration
}

func (e errWaited) Error() string { return fmt.Sprintf("%s within %s", e.what, prose.Exact(e.limit)) }

// within cancels ctx after limit, unless limit is 0. what names the awaited event, for the message.
func within(ctx context.Context, limit time.Duration, what string) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, limit, errWaited{what, limit})
}

// timedOut returns exit code 124, and prints a message, if --timeout has cancelled ctx. Otherwise
// it returns err.
func timedOut(ctx context.Context, e *env.Env, name string, err error) error {
	if w, ok := errors.AsType[errWaited](context.Cause(ctx)); ok && err != nil {
		fmt.Fprintf(e.Err, "vmtb: %s: %v\n", name, w)
		return env.ExitCode(exitTimeout)
	}
	return err
}

// reachGuest waits until the guest's agent has its port open. While the guest boots, reachGuest
// shows that, and the limit of the wait.
func reachGuest(ctx context.Context, e *env.Env, c *keep.Client) error {
	info, err := c.Info(ctx)
	if err != nil || info.State.Agent || info.State.State != vm.Running {
		return err
	}
	what := fmt.Sprintf("the guest is booting; waiting up to %s for its agent", prose.Exact(info.State.Boot))
	return e.WithConsole(c.Name(), what, consoleOf(info), func() error { return c.WaitReady(ctx) })
}

// These are the values of --for.
const (
	forReady = "ready"
	forEnd   = "end"
)

// waitOptions are the flags of "vmtb vm wait".
type waitOptions struct {
	what    string // --for
	timeout time.Duration
}

func waitCommand(e *env.Env) *cobra.Command {
	var o waitOptions
	cmd := &cobra.Command{
		Use: "wait machine", Short: "Wait until a guest can be used, or until a machine has ended",
		Long: `Waits until the guest's agent answers, or with --for=end until the machine has ended and the host
is restored. A wait for a guest ends when the time for a boot has passed (3 minutes, 15 under emulation,
times --timeout-scale of "vmtb vm start"). --timeout sets another limit; when it has passed, the exit code is 124,
as with timeout(1).`,
		Example: `  vmtb vm start --no-wait --vm-image=guest_os.img && vmtb vm wait vm0
  vmtb vm wait --for=end --timeout=10m vm0`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return o.run(ctx, e, args[0])
		},
	}
	cmd.Flags().StringVar(&o.what, "for", forReady, `"ready": the guest's agent answers; "end": the machine has ended`)
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "give up after this time, like 30s or 5m, with exit code 124")
	env.CompleteValues(cmd, map[string][]string{"for": {forReady, forEnd}})
	return cmd
}

func (o *waitOptions) run(ctx context.Context, e *env.Env, name string) error {
	if o.timeout < 0 {
		return &bench.UsageError{Err: fmt.Errorf("--timeout=%v is negative", o.timeout)}
	}
	switch o.what {
	case forReady:
		return o.waitReady(ctx, e, name)
	case forEnd:
		return o.waitEnd(ctx, e, name)
	}
	return &bench.UsageError{Err: fmt.Errorf("--for=%s: want ready or end", o.what)}
}

func (o *waitOptions) waitReady(ctx context.Context, e *env.Env, name string) error {
	c, err := e.State.Machines.Open(name)
	if err != nil {
		return err
	}
	ctx, cancel := within(ctx, o.timeout, "the guest was not ready")
	defer cancel()
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	limit := 2 * o.timeout // o.timeout ends the wait first, with its own message
	if o.timeout == 0 {
		limit = info.State.Boot
	}
	shown := limit
	if o.timeout > 0 {
		shown = o.timeout
	}
	what := fmt.Sprintf("waiting up to %s for its guest", prose.Exact(shown))
	err = e.WithConsole(name, what, consoleOf(info), func() error { return c.WaitReadyWithin(ctx, limit) })
	return timedOut(ctx, e, name, err)
}

func (o *waitOptions) waitEnd(ctx context.Context, e *env.Env, name string) error {
	ctx, cancel := within(ctx, o.timeout, "the machine had not ended")
	defer cancel()
	r, err := e.State.Machines.WaitEnd(ctx, name)
	if err != nil {
		return timedOut(ctx, e, name, err)
	}
	fmt.Fprintf(e.Err, "vmtb: %s: ended %s\n", name, ansi.Printable(r.End()))
	return nil
}
