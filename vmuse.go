package vmtb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/prose"
	"vmtb/internal/rawterm"
)

// vmExecOptions are the flags of "vmtb vm exec".
type vmExecOptions struct {
	env     []string
	dir     string
	stdin   bool
	timeout time.Duration
}

func (a *app) vmExecCommand() *cobra.Command {
	var o vmExecOptions
	cmd := &cobra.Command{
		Use:   "exec [flags] machine [--] command [argument...]",
		Short: "Run a command in a guest",
		Long: `Runs a command in a guest through its agent, as root and without a shell in between. Its output comes as it writes it,
whole whatever its size, and its exit code is ours; a command that a signal has ended is 128 + its number. Ctrl-C ends the
command, and what it has started. A command that is not found is 127, one that cannot be executed 126, and one that --timeout has
ended 124, as with ssh and timeout(1). While the guest boots it waits for the agent, and says so.`,
		Example: `  vmtb vm exec vm0 dmesg
  vmtb vm exec vm0 -- sh -c 'cat /sys/kernel/debug/dri/*/gt0/sriov/*'
  tar c tests | vmtb vm exec -i vm0 -- tar x -C /root`,
		Args: cobra.MinimumNArgs(2), ValidArgsFunction: a.completeMachine,
		RunE: a.onMachine(func(ctx context.Context, c *keep.Client, args []string) error { return a.vmExec(ctx, c, o, args) }),
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows is the command's
	flags.StringArrayVarP(&o.env, "env", "e", nil, "KEY=VALUE for the command's environment; may be given more than once")
	flags.StringVar(&o.dir, "dir", "", "working directory in the guest")
	flags.BoolVarP(&o.stdin, "stdin", "i", false, "give the command our input, all of it at its start")
	flags.DurationVar(&o.timeout, "timeout", 0, "end the command after so long: 30s, 5m")
	return cmd
}

func (a *app) vmExec(ctx context.Context, c *keep.Client, o vmExecOptions, argv []string) error {
	argv, err := guestCommand("vmtb vm exec", c.Name(), argv)
	if err != nil {
		return err
	}
	for _, e := range o.env {
		if !strings.Contains(e, "=") {
			return &bench.UsageError{Err: fmt.Errorf("--env=%s: want KEY=VALUE", e)}
		}
	}
	if err := a.reachGuest(ctx, c); err != nil {
		return err
	}
	limited, cancel := within(ctx, o.timeout, fmt.Sprintf("%s did not end", bench.Command{Argv: argv}))
	defer cancel()
	var in io.Reader
	if o.stdin {
		in = os.Stdin
	}
	r, err := c.Exec(limited, bench.Command{Argv: argv, Env: o.env, Dir: o.dir, Stdout: a.Out, Stderr: a.Err}, in)
	if err != nil {
		return a.timedOut(limited, c.Name(), a.notStarted(c.Name(), err))
	}
	return endedAs(r)
}

// guestCommand takes the command for a guest out of the arguments behind a machine's name. What begins with a dash there is a flag
// that came too late, unless it is behind "--".
func guestCommand(verb, machine string, args []string) (argv []string, err error) {
	switch {
	case args[0] == "--": // after a first argument that is none of the flags', it stays
		argv = args[1:]
	case strings.HasPrefix(args[0], "-"):
		rest := bench.Command{Argv: args[1:]}.String()
		return nil, &bench.UsageError{
			Err:    fmt.Errorf("%s: behind the machine's name comes the command for the guest, and flags before it", args[0]),
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

// notStarted makes a program that could not be run the exit code that a shell has for it, with a message.
func (a *app) notStarted(machine string, err error) error {
	start, ok := errors.AsType[*bench.StartError](err)
	if !ok {
		return err
	}
	fmt.Fprintf(a.Err, "vmtb: %s: %s\n", machine, ansi.Printable(start.Error()))
	return env.ExitCode(start.Code)
}

// endedAs makes the end of a guest's command ours, as a shell does.
func endedAs(r bench.Result) error {
	switch {
	case r.Signal != 0:
		return env.ExitCode(128 + r.Signal)
	case r.ExitCode != 0:
		return env.ExitCode(r.ExitCode)
	}
	return nil
}

func (a *app) vmShellCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "shell machine",
		Short: "Get a shell in a guest, through its agent",
		Long: `Runs a shell in a guest as root. It needs neither network nor a login: lines go through the agent. It is no terminal,
so programs that draw on the whole screen do not work in it; "vmtb vm console", or SSH, is for those. It reads our input
to its end, which may be a file. Ctrl-C ends the shell with all that runs in it, not one command: the agent passes no keys on.
While the guest boots it waits for the agent, and says so.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeMachine,
		RunE: a.onMachine(func(ctx context.Context, c *keep.Client, _ []string) error {
			if err := a.reachGuest(ctx, c); err != nil {
				return err
			}
			r, err := c.Shell(ctx, env.IsTerminal(os.Stdin), os.Stdin, a.Out, a.Err)
			if err != nil {
				return err
			}
			return endedAs(r)
		}),
	}
}

func (a *app) vmConsoleCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "console machine",
		Short: "Attach to a machine's serial console; Ctrl-] detaches",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: a.completeMachine,
		RunE: a.onMachine(func(ctx context.Context, c *keep.Client, _ []string) error { return a.vmConsole(ctx, c) }),
	}
}

func (a *app) vmConsole(ctx context.Context, c *keep.Client) error {
	attached := func() {}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		restore, err := rawterm.Make(os.Stdin, a.Err)
		if err != nil {
			return &bench.InfraError{Op: "set up the terminal", Err: err}
		}
		defer restore()
		attached = func() { fmt.Fprint(a.Err, "vmtb: attached; Ctrl-] detaches\r\n") }
	}
	in, detach := io.Pipe()
	go func() { detach.CloseWithError(rawterm.CopyUntilEscape(detach, os.Stdin)) }()
	return c.Console(ctx, in, a.Out, attached)
}

func (a *app) vmVNCCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "vnc machine", Short: "Show where a machine's VNC server is, and its password",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeMachine,
		RunE: a.onMachine(func(ctx context.Context, c *keep.Client, _ []string) error {
			info, err := c.Info(ctx)
			if err != nil {
				return err
			}
			if info.State.VNC == "" {
				return &bench.UsageError{Err: fmt.Errorf("machine %s has no VNC server", info.Name), Advice: "vmtb vm start --vnc=local gives it one"}
			}
			if asJSON {
				return env.PrintJSON(a.Out, map[string]string{"address": info.State.VNC, "password": info.State.Password, "listens": info.State.VNCListens})
			}
			fmt.Fprintf(a.Out, "address   %s\npassword  %s\nlistens   %s\n", info.State.VNC, env.OrDash(info.State.Password), info.State.VNCListens)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}

func (a *app) vmScreenshotCommand() *cobra.Command {
	return &cobra.Command{
		Use: "screenshot machine [file]", Short: "Take a picture of a machine's screen, as PNG (default: MACHINE.png; - is standard output)",
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: a.completeMachine,
		RunE: a.onMachine(func(ctx context.Context, c *keep.Client, args []string) error {
			file := append(args, c.Name()+".png")[0]
			if file == "-" {
				return c.Screenshot(ctx, a.Out)
			}
			path, err := filepath.Abs(file)
			if err != nil {
				return err
			}
			if err := writeWhole(file, func(w io.Writer) error { return c.Screenshot(ctx, w) }); err != nil {
				return err
			}
			fmt.Fprintln(a.Out, path)
			return nil
		}),
	}
}

func (a *app) vmQMPCommand() *cobra.Command {
	var agent bool
	cmd := &cobra.Command{
		Use:   "qmp machine command [arguments]",
		Short: "Give a command to QEMU's monitor, or to the guest's agent, and print its reply",
		Example: `  vmtb vm qmp vm0 query-status
  vmtb vm qmp vm0 human-monitor-command '{"command-line": "info pci"}'
  vmtb vm qmp --agent vm0 guest-get-osinfo`,
		Args: cobra.RangeArgs(2, 3), ValidArgsFunction: a.completeMachine,
		RunE: a.onMachine(func(ctx context.Context, c *keep.Client, args []string) error { return a.vmQMP(ctx, c, agent, args) }),
	}
	cmd.Flags().BoolVar(&agent, "agent", false, "to the guest's agent instead")
	return cmd
}

func (a *app) vmQMP(ctx context.Context, c *keep.Client, agent bool, args []string) error {
	var object json.RawMessage
	if len(args) > 1 {
		object = json.RawMessage(args[1])
		if err := json.Unmarshal(object, new(map[string]any)); err != nil {
			return &bench.UsageError{Err: fmt.Errorf("arguments %s: want a JSON object: %w", args[1], err)}
		}
	}
	ask := c.QMP
	if agent {
		ask = c.Agent
	}
	reply, err := ask(ctx, args[0], object)
	if err != nil {
		return err
	}
	return env.PrintJSON(a.Out, reply)
}

func (a *app) vmSaveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "save machine tag", Short: "Save a machine's state, that of its VFs too, as a snapshot in its disk",
		Args: cobra.ExactArgs(2), ValidArgsFunction: a.completeMachine,
		RunE: a.onMachine(func(ctx context.Context, c *keep.Client, args []string) error {
			return a.Step(c.Name(), "save "+args[0], func() error { return c.SaveSnapshot(ctx, args[0]) })
		}),
	}
}

func (a *app) vmRestoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restore machine tag", Short: "Take a machine back to a snapshot",
		Args: cobra.ExactArgs(2), ValidArgsFunction: a.completeMachine,
		RunE: a.onMachine(func(ctx context.Context, c *keep.Client, args []string) error {
			return a.Step(c.Name(), "restore "+args[0], func() error { return c.LoadSnapshot(ctx, args[0]) })
		}),
	}
}

func (a *app) vmSnapshotsCommand() *cobra.Command {
	var asJSON bool
	var remove string
	cmd := &cobra.Command{
		Use: "snapshots machine", Short: "List a machine's snapshots, or delete one",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeMachine,
		RunE: a.onMachine(func(ctx context.Context, c *keep.Client, _ []string) error {
			if remove != "" {
				return c.DeleteSnapshot(ctx, remove)
			}
			return a.vmSnapshots(ctx, c, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	cmd.Flags().StringVar(&remove, "delete", "", "delete the snapshot of that tag")
	return cmd
}

func (a *app) vmSnapshots(ctx context.Context, c *keep.Client, asJSON bool) error {
	list, err := c.Snapshots(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		view := []snapshotView{} // not null
		for _, s := range list {
			view = append(view, snapshotView(s))
		}
		return env.PrintJSON(a.Out, view)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.Out, "No snapshots.")
	}
	for _, s := range list {
		fmt.Fprintf(a.Out, "%-20s %s  %s\n", ansi.Printable(s.Tag), s.Time.Format(time.DateTime), env.MiB(uint64(s.Size)))
	}
	return nil
}

// A snapshotView is a snapshot as programs get it.
type snapshotView struct {
	Tag  string    `json:"tag"`
	Time time.Time `json:"time"`
	Size int64     `json:"size"` // bytes
}

func (a *app) vmMigrateCommand() *cobra.Command {
	var config env.ConfigFlags
	var names []string
	cmd := &cobra.Command{
		Use: "migrate machine --vf=N", Short: "Move a machine, while it runs, to a QEMU of its own with another VF",
		Long: `Migrates a running machine on this host: starts a second QEMU with other VFs, moves the machine's state and that of its VFs
to it, and ends the first one. The machine keeps its name; its folder of logs and the ports of VNC and SSH are other ones then, and are
printed. Without --vf the machine must have no VF.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeMachine,
		RunE: a.onMachine(func(ctx context.Context, c *keep.Client, _ []string) error {
			return a.vmMigrate(ctx, c, &config, names)
		}),
	}
	config.AddPF(cmd)
	cmd.Flags().StringSliceVar(&names, "vf", nil, "VF to move to, by number or PCI address; as many as the machine has")
	return cmd
}

func (a *app) vmMigrate(ctx context.Context, c *keep.Client, o *env.ConfigFlags, names []string) error {
	config, _, err := o.Load()
	if err != nil {
		return err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	if len(names) != len(info.Spec.VFs) {
		return &bench.UsageError{Err: fmt.Errorf("machine %s has %s, and --vf names %d", info.Name, prose.Count(len(info.Spec.VFs), "VF"), len(names)), Advice: "it moves to as many"}
	}
	var vfs []vm.VF
	unlock, err := a.assign(&vfs, config, names)
	if err != nil {
		return err
	}
	defer unlock()
	err = a.Progress(info.Name).Step("migrate", func(log io.Writer) error {
		done, err := c.Migrate(ctx, vfs, func(s string) { fmt.Fprintln(log, s) })
		if err == nil {
			fmt.Fprintf(a.Out, "%s moved in %s, stood still for %s: %d MiB of memory, %s of VF state\n",
				info.Name, prose.Duration(done.Total), prose.Duration(done.Downtime), done.RAM>>20, prose.Count(done.VF, "byte"))
		}
		return err
	})
	if err != nil {
		return err
	}
	return a.tellMoved(ctx, c)
}

// tellMoved prints what is another one after a migration.
func (a *app) tellMoved(ctx context.Context, c *keep.Client) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "logs      %s\n", info.State.Logs)
	if info.State.VNC != "" {
		fmt.Fprintf(a.Out, "vnc       %s, with a password of its own: vmtb vm vnc %s\n", vncPlace(info.State), info.Name)
	}
	if info.State.SSHPort != 0 {
		fmt.Fprintf(a.Out, "ssh port  %d\n", info.State.SSHPort)
	}
	return nil
}
