package vm

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/machines"
	"vmtb/internal/rawterm"
)

func shellCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "shell machine",
		Short: "Get a shell in a guest, through its agent",
		Long: `Runs a shell in a guest as root. It needs neither a network nor a login: lines go through the agent.
It is not a terminal, so programs that draw on the whole screen do not work in it: use "vmtb vm console" or SSH for
those. It reads standard input, which may be a file, to its end. Ctrl-C ends the shell and everything that runs in
it, not one command: the agent cannot pass keys. While the guest boots, shell waits for the agent, and prints a
message.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(e, func(ctx context.Context, c *keep.Client, _ []string) error {
			if err := reachGuest(ctx, e, c); err != nil {
				return err
			}
			r, err := c.Shell(ctx, env.IsTerminal(e.In), e.In, e.Out, e.Err)
			if err != nil {
				return err
			}
			return machines.EndedAs(r)
		}),
	}
}

func consoleCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "console machine",
		Short: "Attach to a machine's serial console; Ctrl-] detaches",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(e, func(ctx context.Context, c *keep.Client, _ []string) error { return console(ctx, e, c) }),
	}
}

func console(ctx context.Context, e *env.Env, c *keep.Client) error {
	attached := func() {}
	if env.IsTerminal(e.In) {
		restore, err := rawterm.Make(e.In, e.Err)
		if err != nil {
			return &bench.InfraError{Op: "set up the terminal", Err: err}
		}
		defer restore()
		attached = func() { fmt.Fprint(e.Err, "vmtb: attached; Ctrl-] detaches\r\n") }
	}
	in, detach := io.Pipe()
	go func() { detach.CloseWithError(rawterm.CopyUntilEscape(detach, e.In)) }()
	return c.Console(ctx, in, e.Out, attached)
}
