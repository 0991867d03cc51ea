package vf

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/internal/cli/env"
	"vmtb/internal/hoststate"
	"vmtb/internal/prose"
)

// disableOptions are the flags of "vmtb vf disable".
type disableOptions struct {
	host bench.HostConfig // which PF
}

func disableCommand(e *env.Env) *cobra.Command {
	var flags env.ConfigFlags
	var o disableOptions
	cmd := &cobra.Command{
		Use:   "disable",
		Short: "Disable the VFs, and restore the host",
		Long: `Undoes all changes that "vmtb vf" made on this host, for all GPUs, newest change first: restores the
VFs' drivers, disables the VFs, makes provisioning automatic again, and unloads modules that it loaded. It leaves
changes alone that another program has since changed again, and reports them.

On the PF that --card selects, it also disables VFs that another program has enabled, and resets their
provisioning: that cannot be undone. Refused while a process uses one of the VFs.`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = changeVFs(&flags, func(c *bench.Config, _ []string) error {
		o.host = c.Host
		return nil
	}, func(ctx context.Context) error { return o.run(ctx, e) })
	flags.AddPF(cmd)
	return cmd
}

func (o *disableOptions) run(ctx context.Context, e *env.Env) error {
	return inSession(ctx, e, func(ctx context.Context, s *session) error {
		changed := len(s.log.Pending()) > 0
		if changed {
			if err := hoststate.CheckUnused(s.System, s.log.Log); err != nil {
				return err
			}
			if err := s.Restore(ctx, s.log.Log, s.Out); err != nil {
				return err
			}
		}
		pf, err := s.findPF(o.host)
		if err != nil && changed {
			return nil // it was our driver: the PF went with it
		}
		if err != nil {
			return err
		}
		n, err := pf.NumVFs()
		if err != nil {
			return err
		}
		if n == 0 {
			if !changed {
				fmt.Fprintln(s.Out, "No VFs are enabled.")
			}
			return nil
		}
		err = s.step(
			fmt.Sprintf("disable %s of %s that another program has enabled", prose.Count(n, "VF"), pf.Address),
			func() error { return pf.Reset(ctx) },
		)
		if err != nil {
			return err
		}
		return s.log.Undo(ctx) // it removes the records for a crash in between
	})
}
