package vmtb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/internal/cli/machines"
	"vmtb/internal/hoststate"
	"vmtb/internal/prose"
	"vmtb/lab"
)

// addKeptLab adds the commands for labs that outlive a command.
func (a *app) addKeptLab(cmd *cobra.Command) {
	cmd.AddCommand(
		a.labStartCommand(), a.labExecCommand(), a.labShellCommand(),
		a.labListCommand(), a.labStopCommand(), a.labLogsCommand(),
	)
}

// keptLabOptions are the flags by which a lab is chosen, or started.
type keptLabOptions struct {
	name  string
	xe    string
	share string
}

func (o *keptLabOptions) addStart(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.xe, "xe", "",
		"parameters of the stand-in for xe, separated by blanks: 'device=ptl layout=legacy' "+
			"(lab/kmod/README.md lists them)")
	flags.StringVar(&o.share, "share", "",
		"directory of this machine that the lab sees under the same path, and may write to (default: a new one below "+
			flows.ResultsDir+")")
}

func (o *keptLabOptions) addName(cmd *cobra.Command, a *app) {
	cmd.Flags().StringVar(&o.name, "lab", "", "the lab of that name (default: the one that is up)")
	_ = cmd.RegisterFlagCompletionFunc("lab", machines.Complete(a.State.Labs)) // fails for no flag, or twice
}

func (a *app) labStartCommand() *cobra.Command {
	var o keptLabOptions
	cmd := &cobra.Command{
		Use: "start [lab]", Short: "Boot a lab that stays up",
		Long: `Boots the emulated machine under test, building its images first if need be, and returns when it can be used. It stays up
until "vmtb lab stop": "vmtb lab exec" and "vmtb lab shell" use it. It is called lab0 (or the next free number) unless you name it.
vmtb is in it, with a configuration for the lab, and so is a guest image: /root/guest_os.img.`,
		Example: `  vmtb lab start
  vmtb lab exec -- vmtb doctor
  vmtb lab stop`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			o.name = strings.Join(args, "")
			c, err := a.startLab(ctx, o)
			if err == nil {
				fmt.Fprintln(a.Out, c.Name())
			}
			return err
		},
	}
	o.addStart(cmd)
	return cmd
}

// startLab boots a lab and makes it fit for people. When that fails, or ctx ends, nothing is left.
func (a *app) startLab(ctx context.Context, o keptLabOptions) (c *keep.Client, err error) {
	params := strings.Fields(o.xe)
	if o.name != "" {
		err = keep.CheckName(o.name)
	}
	if err := errors.Join(err, a.checkLabGPU(params)); err != nil {
		return nil, err
	}
	share, err := sharedDir(o.share)
	if err != nil {
		return nil, err
	}
	images, err := a.buildLab(ctx)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(images) // until QEMU has its files open
	if err := lab.Give(share); err != nil {
		return nil, err
	}
	options := lab.Options{
		Images: images, Share: share, XeParams: params, GPUProperties: a.labProperties, MayReboot: true, Progress: a.Progress("lab"),
	}
	err = options.Twice(ctx, func(options lab.Options) (err error) {
		c, err = a.startDUT(ctx, o.name, options)
		return err
	})
	if err == nil {
		options.Progress.Printf("%s is up; %s is the same directory here and there", c.Name(), share)
	}
	return c, err
}

// startDUT starts a lab's machine. When that fails nothing is left.
func (a *app) startDUT(ctx context.Context, name string, o lab.Options) (c *keep.Client, err error) {
	spec, started, err := o.Spec(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { started(err) }()
	speed, err := lab.MeasuredSpeed()
	if err != nil {
		return nil, err
	}
	err = o.Progress.Step(lab.Starting(spec), func(io.Writer) error {
		r := keep.Record{Name: name, Spec: spec, Started: time.Now()}
		c, err = a.State.Labs.Start(ctx, r, machines.KeepCommand)
		if err != nil {
			return err
		}
		if err := c.WaitReadyWithin(ctx, speed.BootLimit()); err != nil {
			return err
		}
		return setUpLab(ctx, c, spec)
	})
	if err == nil {
		return c, nil
	}
	if c == nil {
		return nil, err
	}
	return nil, errors.Join(err, c.Kill(context.WithoutCancel(ctx), nil))
}

// sharedDir is the directory that a lab shares with this machine: the one asked for, or a new one.
func sharedDir(asked string) (string, error) {
	if asked == "" {
		return flows.NewRunDir("", "-lab")
	}
	dir, err := filepath.Abs(asked)
	var info os.FileInfo
	if err == nil {
		info, err = os.Stat(dir)
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", dir)
	}
	if err != nil {
		return "", &bench.UsageError{Err: fmt.Errorf("--share: %w", err)}
	}
	return dir, nil
}

// setUpLab is done after each boot of a lab: one that has rebooted has forgotten what it had
// mounted.
func setUpLab(ctx context.Context, c *keep.Client, spec vm.Spec) error {
	speed, err := lab.MeasuredSpeed()
	if err != nil {
		return err
	}
	set := lab.SetUp(spec, speed.TimeoutScale())
	r, err := c.Exec(ctx, set, nil)
	if err == nil && !r.OK() {
		err = &bench.InfraError{Op: "lab: set up " + c.Name(), Err: errors.New(bench.Tail(r.Stderr, 3))}
	}
	return err
}

// runningLab is the lab that is named, or the one that is up; nil if there is none.
func (a *app) runningLab(name string) (*keep.Client, error) {
	if name != "" {
		return a.State.Labs.Open(name)
	}
	living, err := hoststate.Living(a.State.Labs)
	if err != nil || len(living) == 0 {
		return nil, err
	}
	if len(living) > 1 {
		var names []string
		for _, r := range living {
			names = append(names, r.Name)
		}
		return nil, &bench.UsageError{
			Err: fmt.Errorf("%d labs are up: %s", len(names), strings.Join(names, ", ")), Advice: "--lab=NAME says which",
		}
	}
	return a.State.Labs.Open(living[0].Name)
}

// enterLab is a lab to work in: the one that is up, or a new one that leave ends.
func (a *app) enterLab(
	ctx context.Context, o keptLabOptions,
) (c *keep.Client, own bool, leave func() error, err error) {
	c, err = a.runningLab(o.name)
	if err != nil {
		return nil, false, nil, err
	}
	if c == nil {
		o.name = ""
		if c, err = a.startLab(ctx, o); err != nil {
			return nil, false, nil, err
		}
		return c, true, func() error { return c.Kill(context.WithoutCancel(ctx), nil) }, nil
	}
	if o.xe != "" || o.share != "" || len(a.labProperties) > 0 {
		return nil, false, nil, &bench.UsageError{
			Err:    fmt.Errorf("--xe, --gpu-property and --share are for a lab that is booted; %s is up", c.Name()),
			Advice: "vmtb lab stop ends it",
		}
	}
	return c, false, func() error { return nil }, a.readyLab(ctx, c)
}

// readyLab waits for a lab that somebody else boots, or that has rebooted.
func (a *app) readyLab(ctx context.Context, c *keep.Client) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	if !info.State.Agent && info.State.State == vm.Running {
		speed, speedErr := lab.MeasuredSpeed()
		if speedErr != nil {
			return speedErr
		}
		what := fmt.Sprintf("%s is booting; waiting up to %s for it", c.Name(), prose.Exact(speed.BootLimit()))
		err = a.Step("lab", what, func() error { return c.WaitReadyWithin(ctx, speed.BootLimit()) })
	}
	if gpu := lab.GPU(a.labGPU); gpu != "" && gpu != lab.GPUOf(info.Spec) {
		return &bench.UsageError{
			Err:    fmt.Errorf("--gpu=%s: lab %s, which is up, has --gpu=%s", gpu, c.Name(), lab.GPUOf(info.Spec)),
			Advice: "vmtb lab stop ends it",
		}
	}
	if err == nil {
		err = setUpLab(ctx, c, info.Spec)
	}
	return err
}

// labExecOptions are the flags of "vmtb lab exec".
type labExecOptions struct {
	keptLabOptions
	env   []string
	dir   string
	stdin bool
}

func (a *app) labExecCommand() *cobra.Command {
	var o labExecOptions
	cmd := &cobra.Command{
		Use: "exec [flags] -- command [argument...]", Short: "Run a command in the lab",
		Long: `Runs a command in the emulated machine under test, as root and without a shell in between, and gives its exit code: in the lab that
"vmtb lab start" or "vmtb lab shell" has up, or else in one that is booted for it and ended after it. Its standard output and standard
error come as it writes them, apart. A command that a signal has ended is 128 + its number, one that is not found 127, one that cannot be
executed 126. The first Ctrl-C gives the command a SIGTERM and waits for its end, up to 5 minutes; the second kills it and
what it has started.`,
		Example: `  vmtb lab exec -- vmtb doctor
  vmtb lab exec -- sh -c 'vmtb vf enable 2 && vmtb vf list'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.labExec(cmd.Context(), o, args) },
	}
	o.addName(cmd, a)
	o.addStart(cmd)
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows is the command's
	flags.StringArrayVarP(&o.env, "env", "e", nil, "KEY=VALUE for the command's environment; may be given more than once")
	flags.StringVar(&o.dir, "dir", "", "working directory in the lab (default: that of --share, or /root)")
	flags.BoolVarP(&o.stdin, "stdin", "i", false, "give the command our input, all of it at its start")
	return cmd
}

func (a *app) labExec(ctx context.Context, o labExecOptions, argv []string) error {
	for _, e := range o.env {
		if !strings.Contains(e, "=") {
			return &bench.UsageError{Err: fmt.Errorf("--env=%s: want KEY=VALUE", e)}
		}
	}
	ctx, kill, stop := env.EndInOrder(ctx, a.Err)
	defer stop()
	c, _, leave, err := a.enterLab(ctx, o.keptLabOptions)
	if err != nil {
		return err
	}
	cmd := bench.Command{
		Argv: argv, Env: append([]string{"HOME=/root"}, o.env...), Dir: o.workDir(), Stdout: a.Out, Stderr: a.Err,
	}
	var in io.Reader
	if o.stdin {
		in = os.Stdin
	}
	r, err := runInLab(ctx, kill, c, cmd, in)
	if err != nil {
		err = machines.NotStarted(a.Env, c.Name(), err)
	} else {
		err = machines.EndedAs(r)
	}
	if ctx.Err() != nil && (r.Signal != 0 || errors.Is(err, context.Canceled)) {
		err = env.ExitCode(flow.ExitInterrupted)
	}
	return a.after(err, leave())
}

// after is what a command ends with whose clean-up failed with left: its own end counts more, and
// then left is printed.
func (a *app) after(err, left error) error {
	if left == nil || err == nil {
		return errors.Join(err, left)
	}
	fmt.Fprintf(a.Err, "vmtb: %s\n", ansi.Printable(left.Error()))
	return err
}

func (o *labExecOptions) workDir() string {
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

// stopDeadline is how long a command has to end after the first interrupt: it may be a run that
// puts its host back.
const stopDeadline = 5 * time.Minute

// runInLab runs a command in a lab. When ctx ends, the command alone gets a SIGTERM: what it has
// started is its own to end. When kill is closed, or stopDeadline has passed, all of it is killed.
func runInLab(
	ctx context.Context, kill <-chan struct{}, c *keep.Client, cmd bench.Command, in io.Reader,
) (bench.Result, error) {
	id := fmt.Sprintf("lab-exec-%d", os.Getpid())
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		late := time.NewTimer(stopDeadline)
		defer late.Stop()
		if c.Signal(running, id, int(syscall.SIGTERM)) != nil { // it has not started, or has ended
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

func (a *app) labShellCommand() *cobra.Command {
	var o keptLabOptions
	cmd := &cobra.Command{
		Use: "shell", Short: "Get a shell in the lab, booting it first if none is up",
		Long: `Gives a shell in the emulated machine under test: in the lab that "vmtb lab start" has up, or else in one that is booted for it
and ended after it. vmtb is in it, with its completion and a configuration for the lab, and a guest image: /root/guest_os.img. Ctrl-]
leaves the shell.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return a.labShell(ctx, o)
		},
	}
	o.addName(cmd, a)
	o.addStart(cmd)
	return cmd
}

func (a *app) labShell(ctx context.Context, o keptLabOptions) error {
	if !env.IsTerminal(os.Stdin) {
		return &bench.UsageError{
			Err: errors.New("vmtb lab shell needs a terminal"), Advice: "vmtb lab exec -- COMMAND runs a command without one",
		}
	}
	c, own, leave, err := a.enterLab(ctx, o)
	if err != nil {
		return err
	}
	end := "Ctrl-] leaves; " + c.Name() + " stays up"
	if own {
		end = "Ctrl-] ends the machine"
	}
	info, err := c.Info(ctx)
	if err == nil {
		fmt.Fprintf(a.Err, "lab: %s\n", end)
		err = lab.Attach(ctx, info.State.Sockets, os.Stdin, a.Out)
	}
	return a.after(err, leave())
}

func (a *app) labListCommand() *cobra.Command {
	cmd := machines.ListCommand(a.Env, a.State.Labs)
	cmd.Short = "List the labs that are up: state, logs"
	return cmd
}

func (a *app) labStopCommand() *cobra.Command {
	o := machines.EndOptions{
		Store: a.State.Labs, What: "stop",
		End: func(ctx context.Context, c *keep.Client, progress func(string)) error { return c.Kill(ctx, progress) },
	}
	cmd := &cobra.Command{
		Use: "stop [lab...]", Aliases: []string{"off"}, Short: "End labs that are up",
		Long: `Ends the lab that is up, or the labs that are named. What they have on their disks goes with them; the directory that they
share with this machine stays.`,
		ValidArgsFunction: machines.Complete(a.State.Labs),
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 && !o.All {
				c, err := a.runningLab("")
				if err != nil {
					return err
				}
				if c == nil {
					return &bench.UsageError{Err: errors.New("no lab is up"), Advice: "vmtb lab start starts one"}
				}
				names = []string{c.Name()}
			}
			return o.Run(cmd.Context(), a.Env, names)
		},
	}
	cmd.Flags().BoolVar(&o.All, "all", false, "all labs")
	return cmd
}

func (a *app) labLogsCommand() *cobra.Command {
	cmd := machines.LogsCommand(a.Env, a.State.Labs)
	cmd.Use, cmd.Short = "logs lab [log]", "Print a lab's logs: its console, or what QEMU said; -f follows"
	cmd.Example = "  vmtb lab logs -f lab0"
	return cmd
}
