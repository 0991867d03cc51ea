package vm

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/machines"
	"vmtb/internal/prose"
)

// migrateOptions are the flags of "vmtb vm migrate".
type migrateOptions struct {
	env.ConfigFlags
	vfs []string // VFs to move to, by number or address
}

func migrateCommand(e *env.Env) *cobra.Command {
	var o migrateOptions
	cmd := &cobra.Command{
		Use: "migrate machine --vf=N", Short: "Move a machine, while it runs, to a QEMU of its own with another VF",
		Long: `Migrates a running machine on this host: starts a second QEMU with other VFs, moves the machine's
state and that of its VFs to it, and ends the first one. The machine keeps its name. The folder of logs and the
ports of VNC and SSH change, and are printed. Without --vf the machine must have no VF.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(e, func(ctx context.Context, c *keep.Client, _ []string) error {
			return o.run(ctx, e, c)
		}),
	}
	o.AddPF(cmd)
	cmd.Flags().StringSliceVar(&o.vfs, "vf", nil, "VF to move to, by number or PCI address; as many as the machine has")
	return cmd
}

func (o *migrateOptions) run(ctx context.Context, e *env.Env, c *keep.Client) error {
	config, _, err := o.Load()
	if err != nil {
		return err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	if len(o.vfs) != len(info.Spec.VFs) {
		return &bench.UsageError{
			Err: fmt.Errorf(
				"machine %s has %s, and --vf names %d", info.Name, prose.Count(len(info.Spec.VFs), "VF"), len(o.vfs),
			),
			Advice: "give as many VFs as the machine has",
		}
	}
	var vfs []vm.VF
	unlock, err := assign(e, &vfs, config, o.vfs)
	if err != nil {
		return err
	}
	defer unlock()
	err = e.Progress(info.Name).Step("migrate", func(log io.Writer) error {
		done, err := c.Migrate(ctx, vfs, func(s string) { fmt.Fprintln(log, s) })
		if err == nil {
			fmt.Fprintf(e.Out, "%s moved in %s, paused for %s: %d MiB of memory, %s of VF state\n",
				info.Name, prose.Duration(done.Total), prose.Duration(done.Downtime), done.RAM>>20,
				prose.Count(done.VF, "byte"))
		}
		return err
	})
	if err != nil {
		return err
	}
	return printMoved(ctx, e, c)
}

// printMoved prints the changes that a migration made.
func printMoved(ctx context.Context, e *env.Env, c *keep.Client) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Out, "logs      %s\n", info.State.Logs)
	if info.State.VNC != "" {
		fmt.Fprintf(
			e.Out, "vnc       %s, with a new password: vmtb vm vnc %s\n", machines.VNCPlace(info.State),
			info.Name,
		)
	}
	if info.State.SSHPort != 0 {
		fmt.Fprintf(e.Out, "ssh port  %d\n", info.State.SSHPort)
	}
	return nil
}
