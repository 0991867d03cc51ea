package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/machines"
)

// execOptions are the flags of "vmtb vm exec".
type execOptions struct {
	env     []string
	dir     string
	stdin   bool
	timeout time.Duration
}

func execCommand(e *env.Env) *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:   "exec [flags] machine [--] command [argument...]",
		Short: "Run a command in a guest",
		Long: `Runs a command in a guest through its agent, as root and without a shell. The output comes as the
command writes it, complete whatever its size. The exit code is that of the command, or 128 + N if signal N ended
it, 127 if it was not found, 126 if it cannot be executed, and 124 if --timeout ended it, as with ssh and
timeout(1). Ctrl-C ends the command and its children. While the guest boots, exec waits for the agent, and
prints a message.`,
		Example: `  vmtb vm exec vm0 dmesg
  vmtb vm exec vm0 -- sh -c 'cat /sys/kernel/debug/dri/*/gt0/sriov/*'
  tar c tests | vmtb vm exec -i vm0 -- tar x -C /root`,
		Args: cobra.MinimumNArgs(2), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(
			e, func(ctx context.Context, c *keep.Client, args []string) error { return o.run(ctx, e, c, args) },
		),
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // flags after the machine belong to the command
	flags.StringArrayVarP(
		&o.env, "env", "e", nil, "KEY=VALUE for the command's environment; may be given more than once",
	)
	flags.StringVar(&o.dir, "dir", "", "working directory in the guest")
	flags.BoolVarP(&o.stdin, "stdin", "i", false, "pass vmtb's standard input to the command, all of it at the start")
	flags.DurationVar(&o.timeout, "timeout", 0, "end the command after this time, like 30s or 5m")
	return cmd
}

func (o *execOptions) run(ctx context.Context, e *env.Env, c *keep.Client, argv []string) error {
	argv, err := guestCommand("vmtb vm exec", c.Name(), argv)
	if err != nil {
		return err
	}
	for _, e := range o.env {
		if !strings.Contains(e, "=") {
			return &bench.UsageError{Err: fmt.Errorf("--env=%s: want KEY=VALUE", e)}
		}
	}
	if err := reachGuest(ctx, e, c); err != nil {
		return err
	}
	limited, cancel := within(ctx, o.timeout, fmt.Sprintf("%s did not end", bench.Command{Argv: argv}))
	defer cancel()
	var in io.Reader
	if o.stdin {
		in = e.In
	}
	r, err := c.Exec(limited, bench.Command{Argv: argv, Env: o.env, Dir: o.dir, Stdout: e.Out, Stderr: e.Err}, in)
	if err != nil {
		return timedOut(limited, e, c.Name(), machines.NotStarted(e, c.Name(), err))
	}
	return machines.EndedAs(r)
}

// guestCommand returns the command for a guest from the arguments after the name of a machine. An
// argument there that begins with a dash is a misplaced flag of ours, unless "--" is before it.
func guestCommand(verb, machine string, args []string) (argv []string, err error) {
	switch {
	case args[0] == "--": // cobra leaves "--" in place if a positional argument precedes it
		argv = args[1:]
	case strings.HasPrefix(args[0], "-"):
		rest := bench.Command{Argv: args[1:]}.String()
		return nil, &bench.UsageError{
			Err: fmt.Errorf(
				"%s: flags go before the machine's name, and the command for the guest after it", args[0],
			),
			Advice: strings.TrimSpace(fmt.Sprintf("%s %s %s %s", verb, args[0], machine, rest)),
		}
	default:
		argv = args
	}
	if len(argv) == 0 {
		return nil, &bench.UsageError{Err: errors.New("want a command to run")}
	}
	return argv, nil
}
