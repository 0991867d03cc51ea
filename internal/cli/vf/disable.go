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
		Short: "Disable the VFs, and put the host back",
		Long: `Undoes all that "vmtb vf" has changed on this host, of all GPUs, newest change first: VFs go back
to the drivers that they had, and away, provisioning is automatic again, modules that were loaded are unloaded.
What has become somebody else's meanwhile is left alone, and it says so.

VFs that somebody else has enabled are disabled, too, and their provisioning is reset, of the PF that --card
names: that cannot be undone. Refused while somebody uses one of the VFs.`,
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
			fmt.Sprintf("disable %s of %s that somebody else has enabled", prose.Count(n, "VF"), pf.Address),
			func() error { return pf.Reset(ctx) },
		)
		if err != nil {
			return err
		}
		return s.log.Undo(ctx) // it removes the records for a crash in between
	})
}
