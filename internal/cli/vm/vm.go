package vm

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/machines"
)

// Command returns "vmtb vm".
func Command(e *env.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vm",
		Short: "Virtual machines that outlive the command which starts them",
		Long: `Starts virtual machines, with or without VFs, and controls them by hand as flows do. A machine
of "vmtb vm start" outlives the command, held by a process, its keeper, until the guest shuts down or
"vmtb vm off", "vmtb vm kill" or "vmtb recover" ends it. "vmtb help vm" has more.`,
	}
	cmd.AddCommand(
		startCommand(e), warmCommand(e), machines.ListCommand(e, e.State.Machines), keepCommand(e), waitCommand(e),
		machines.LogsCommand(e, e.State.Machines), removeCommand(e),
		execCommand(e), copyCommand(e), shellCommand(e), sshCommand(e), consoleCommand(e),
		vncCommand(e), screenshotCommand(e), qmpCommand(e),
		offCommand(e), killCommand(e),
		saveCommand(e), restoreCommand(e), snapshotsCommand(e), migrateCommand(e),
	)
	for _, o := range []struct {
		order keep.Order
		short string
	}{
		{keep.Pause, "Stop a machine's CPUs"},
		{keep.Resume, "Resume a paused machine"},
		{keep.Suspend, "Have a guest suspend itself to RAM (S3)"},
		{keep.Wake, "Wake a guest that is suspended"},
		{keep.Reboot, "Reboot a guest through its agent, and wait until it is back"},
		{keep.Reset, "Press a machine's reset button, and wait until its guest is back"},
	} {
		cmd.AddCommand(orderCommand(e, o.order, o.short))
	}
	return cmd
}

// onMachine returns the body of a command whose first argument names a machine. do gets the
// machine's client and the other arguments.
func onMachine(
	e *env.Env, do func(ctx context.Context, c *keep.Client, args []string) error,
) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := e.State.Machines.Open(args[0])
		if err != nil {
			return err
		}
		ctx, stop := env.CancelOnInterrupt(cmd.Context())
		defer stop()
		return do(ctx, c, args[1:])
	}
}

func orderCommand(e *env.Env, o keep.Order, short string) *cobra.Command {
	return &cobra.Command{
		Use: string(o) + " machine", Short: short, Args: cobra.ExactArgs(1),
		ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(e, func(ctx context.Context, c *keep.Client, _ []string) error {
			return e.Step(c.Name(), string(o), func() error { return c.Order(ctx, o) })
		}),
	}
}

func offCommand(e *env.Env) *cobra.Command {
	o := machines.EndOptions{
		Store: e.State.Machines, What: "shut down",
		End: func(ctx context.Context, c *keep.Client, progress func(string)) error {
			return powerOff(ctx, e, c, progress)
		},
	}
	cmd := &cobra.Command{
		Use: "off machine... | --all", Aliases: []string{"stop"}, Short: "Shut machines down, and restore the host",
		Long: `Shuts machines down: asks the guest's agent, then presses the power button, then asks QEMU to quit,
then kills QEMU, each only if the step before failed. The machine's changes on the host are undone;
its logs stay until a machine of the same name is started.`,
		ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.Run(cmd.Context(), e, args)
		},
	}
	cmd.Flags().BoolVar(&o.All, "all", false, "all machines")
	return cmd
}

func powerOff(ctx context.Context, e *env.Env, c *keep.Client, progress func(string)) error {
	off, err := c.PowerOff(ctx, progress)
	if how := off.How; how == "" || how == vm.StepAgent { // it is "" after an error
		return err
	}
	why := "the guest did not shut down when its agent asked for it"
	if len(off.LeftOut) > 0 {
		why = strings.Join(off.LeftOut, "; ")
	}
	fmt.Fprintf(e.Err, "vmtb: %s: ended by %s: %s\n", c.Name(), off.How, ansi.Printable(why))
	return err
}

func killCommand(e *env.Env) *cobra.Command {
	o := machines.EndOptions{
		Store: e.State.Machines, What: "kill",
		End: func(ctx context.Context, c *keep.Client, progress func(string)) error { return c.Kill(ctx, progress) },
	}
	cmd := &cobra.Command{
		Use: "kill machine... | --all", Short: "Kill machines' QEMU, and restore the host",
		ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.Run(cmd.Context(), e, args)
		},
	}
	cmd.Flags().BoolVar(&o.All, "all", false, "all machines")
	return cmd
}
