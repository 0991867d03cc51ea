package vmtb

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
	"vmtb/internal/prose"
)

// exitTimeout is the exit code when the time given with --timeout has passed, as that of
// timeout(1).
const exitTimeout = 124

// errWaited is the cause of a context that --timeout ended.
type errWaited struct {
	what  string
	limit time.Duration
}

func (e errWaited) Error() string { return fmt.Sprintf("%s within %s", e.what, prose.Exact(e.limit)) }

// within ends ctx after limit, unless that is 0. what is what did not happen then, for the message.
func within(ctx context.Context, limit time.Duration, what string) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, limit, errWaited{what, limit})
}

// timedOut turns err into exit code 124, with a message, if --timeout ended what ctx is for.
func (a *app) timedOut(ctx context.Context, name string, err error) error {
	if w, ok := errors.AsType[errWaited](context.Cause(ctx)); ok && err != nil {
		fmt.Fprintf(a.Err, "vmtb: %s: %v\n", name, w)
		return env.ExitCode(exitTimeout)
	}
	return err
}

// reachGuest returns when the guest's agent has its port open. While the guest boots it says so,
// and how long it waits at most.
func (a *app) reachGuest(ctx context.Context, c *keep.Client) error {
	info, err := c.Info(ctx)
	if err != nil || info.State.Agent || info.State.State != vm.Running {
		return err
	}
	what := fmt.Sprintf("the guest is booting; waiting up to %s for its agent", prose.Exact(info.State.Boot))
	return a.WithConsole(c.Name(), what, consoleOf(info), func() error { return c.WaitReady(ctx) })
}

// What "vmtb vm wait" waits for.
const (
	waitReady = "ready"
	waitEnd   = "end"
)

func (a *app) vmWaitCommand() *cobra.Command {
	var what string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "wait machine", Short: "Wait until a guest can be used, or until a machine has ended",
		Long: `Waits until the guest's agent answers, or with --for=end until the machine has ended and the host was put back. A wait
for a guest ends by itself when the time for a boot has passed (3 minutes, 15 under emulation, times --timeout-scale of
"vmtb vm start"); --timeout gives it another time, and gives exit code 124 when it has passed, as timeout(1) does.`,
		Example: `  vmtb vm start --no-wait --vm-image=guest_os.img && vmtb vm wait vm0
  vmtb vm wait --for=end --timeout=10m vm0`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeMachine,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return a.vmWait(ctx, args[0], what, timeout)
		},
	}
	cmd.Flags().StringVar(&what, "for", waitReady, `"ready": the guest's agent answers; "end": the machine has ended`)
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after so long, with exit code 124: 30s, 5m")
	return cmd
}

func (a *app) vmWait(ctx context.Context, name, what string, timeout time.Duration) error {
	if timeout < 0 {
		return &bench.UsageError{Err: fmt.Errorf("--timeout=%v is negative", timeout)}
	}
	switch what {
	case waitReady:
		return a.waitReady(ctx, name, timeout)
	case waitEnd:
		return a.waitEnd(ctx, name, timeout)
	}
	return &bench.UsageError{Err: fmt.Errorf("--for=%s: want ready or end", what)}
}

func (a *app) waitReady(ctx context.Context, name string, timeout time.Duration) error {
	c, err := a.State.Machines.Open(name)
	if err != nil {
		return err
	}
	ctx, cancel := within(ctx, timeout, "its guest was not ready")
	defer cancel()
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	limit := 2 * timeout // ours comes first
	if timeout == 0 {
		limit = info.State.Boot
	}
	shown := limit
	if timeout > 0 {
		shown = timeout
	}
	what := fmt.Sprintf("waiting up to %s for its guest", prose.Exact(shown))
	err = a.WithConsole(name, what, consoleOf(info), func() error { return c.WaitReadyWithin(ctx, limit) })
	return a.timedOut(ctx, name, err)
}

func (a *app) waitEnd(ctx context.Context, name string, timeout time.Duration) error {
	ctx, cancel := within(ctx, timeout, "it had not ended")
	defer cancel()
	r, err := a.State.Machines.WaitEnd(ctx, name)
	if err != nil {
		return a.timedOut(ctx, name, err)
	}
	fmt.Fprintf(a.Err, "vmtb: %s: ended %s\n", name, ansi.Printable(r.End()))
	return nil
}

func (a *app) vmRemoveCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "rm machine... | --all", Aliases: []string{"remove"},
		Short: "Remove the records and logs of machines that have ended",
		Long: `Removes the folders of machines that have ended, with their logs: "vmtb vm list --all" does not show them any more. A machine
that has not ended is refused: "vmtb vm off" ends it.`,
		ValidArgsFunction: a.completeEnded,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return a.vmRemove(ctx, args, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that have ended")
	return cmd
}

func (a *app) vmRemove(ctx context.Context, names []string, all bool) error {
	if all == (len(names) > 0) {
		return &bench.UsageError{Err: errors.New("want the names of machines, or --all"), Advice: "vmtb vm list --all shows them"}
	}
	if all {
		var err error
		if names, err = a.endedMachines(); err != nil {
			return err
		}
	}
	var errs []error
	for _, name := range names {
		err := a.State.Machines.Remove(ctx, name)
		if err == nil {
			fmt.Fprintln(a.Out, name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// endedMachines are the names of the machines that have ended.
func (a *app) endedMachines() ([]string, error) {
	records, err := a.State.Machines.List()
	var names []string
	for _, r := range records {
		if r.Life() == keep.Ended {
			names = append(names, r.Name)
		}
	}
	return names, err
}

// completeEnded offers the names of machines that have ended.
func (a *app) completeEnded(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names, err := a.endedMachines()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
