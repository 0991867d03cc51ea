package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/machines"
)

// execOptions are the flags of "vmtb lab exec".
type execOptions struct {
	upOptions
	env   []string
	dir   string
	stdin bool
}

func execCommand(e *env.Env, d *dutFlags) *cobra.Command {
	o := execOptions{upOptions: upOptions{dut: d}}
	cmd := &cobra.Command{
		Use: "exec [flags] -- command [argument...]", Short: "Run a command in the lab",
		Long: `Runs a command in the emulated machine under test, as root and without a shell, and ends with its
exit code. It uses the lab that "vmtb lab start" or "vmtb lab shell" started. If no lab is up, it boots one and
ends it after the command. Standard output and standard error stay separate. The exit code is 128 + N if signal N
ended the command, 127 if it was not found, and 126 if it cannot be executed. The first Ctrl-C sends SIGTERM to
the command and waits for its end, up to 5 minutes; the second kills the command and its children.`,
		Example: `  vmtb lab exec -- vmtb doctor
  vmtb lab exec -- sh -c 'vmtb vf enable 2 && vmtb vf list'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), e, args) },
	}
	o.addName(cmd, e)
	o.addStart(cmd)
	flags := cmd.Flags()
	flags.SetInterspersed(false) // flags after the first argument belong to the command
	flags.StringArrayVarP(
		&o.env, "env", "e", nil, "KEY=VALUE for the command's environment; may be given more than once",
	)
	flags.StringVar(&o.dir, "dir", "", "working directory in the lab (default: the directory of --share, or /root)")
	flags.BoolVarP(&o.stdin, "stdin", "i", false, "pass vmtb's standard input to the command, all of it at the start")
	return cmd
}

func (o *execOptions) run(ctx context.Context, e *env.Env, argv []string) error {
	for _, e := range o.env {
		if !strings.Contains(e, "=") {
			return &bench.UsageError{Err: fmt.Errorf("--env=%s: want KEY=VALUE", e)}
		}
	}
	ctx, kill, stop := env.EndInOrder(ctx, e.Err)
	defer stop()
	c, _, release, err := o.enter(ctx, e)
	if err != nil {
		return err
	}
	return after(e, o.runIn(ctx, kill, e, c, argv), release())
}

// runFresh runs a command in a lab of its own, and reports whether that lab booted.
func (o *execOptions) runFresh(ctx context.Context, e *env.Env, argv []string) (booted bool, err error) {
	ctx, kill, stop := env.EndInOrder(ctx, e.Err)
	defer stop()
	c, err := o.start(ctx, e)
	if err != nil {
		return false, err
	}
	err = o.runIn(ctx, kill, e, c, argv)
	return true, after(e, err, c.Kill(context.WithoutCancel(ctx), nil))
}

// runIn runs a command in the lab c. If the command did not end with 0, the error is its exit code.
func (o *execOptions) runIn(
	ctx context.Context, kill <-chan struct{}, e *env.Env, c *keep.Client, argv []string,
) error {
	cmd := bench.Command{
		Argv: argv, Env: append([]string{"HOME=/root"}, o.env...), Dir: o.workDir(), Stdout: e.Out, Stderr: e.Err,
	}
	var in io.Reader
	if o.stdin {
		in = e.In
	}
	r, err := runInLab(ctx, kill, c, cmd, in)
	if err != nil {
		err = machines.NotStarted(e, c.Name(), err)
	} else {
		err = machines.EndedAs(r)
	}
	if ctx.Err() != nil && (r.Signal != 0 || errors.Is(err, context.Canceled)) {
		err = env.ExitCode(flow.ExitInterrupted)
	}
	return err
}

func (o *execOptions) workDir() string {
	switch {
	case o.dir != "":
		return o.dir
	case o.share != "":
		if dir, err := filepath.Abs(o.share); err == nil {
			return dir
		}
	}
	return "/root"
}

// stopDeadline limits how long a command runs after the first interrupt. It is long: the command
// may be a run that restores its host.
const stopDeadline = 5 * time.Minute

// runInLab runs a command in a lab. When ctx ends, only the command gets a SIGTERM, and it ends its
// children. When kill is closed, or stopDeadline has passed, the command and its children are
// killed.
func runInLab(
	ctx context.Context, kill <-chan struct{}, c *keep.Client, cmd bench.Command, in io.Reader,
) (bench.Result, error) {
	id := fmt.Sprintf("lab-exec-%d", os.Getpid())
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		late := time.NewTimer(stopDeadline)
		defer late.Stop()
		// It has not started yet, or has ended.
		if c.Signal(running, id, int(syscall.SIGTERM)) != nil {
			cancel()
		}
		select {
		case <-kill:
		case <-late.C:
		case <-running.Done():
		}
		cancel()
	})()
	return c.ExecAs(running, id, cmd, in)
}
