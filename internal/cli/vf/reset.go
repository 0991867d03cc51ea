package vf

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/xe"
	"vmtb/internal/cli/env"
	"vmtb/internal/pick"
)

type resetOptions struct {
	config *bench.Config
	vf     pick.VFName
}

func resetCommand(e *env.Env) *cobra.Command {
	var flags env.ConfigFlags
	var o resetOptions
	cmd := &cobra.Command{
		Use:   "reset VF",
		Short: "Do a Function Level Reset of a VF",
		Long: `Does a Function Level Reset (FLR) of an enabled VF ("1", "VF1" or its PCI address): its work ends,
its memory is cleared, and it keeps its quotas and its driver. A VF that was paused or stopped runs again.
Refused while a process uses the VF, because that process would lose its work. There is nothing to undo afterwards.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = changeVFs(&flags, func(c *bench.Config, args []string) (err error) {
		o.config = c
		o.vf, err = pick.ParseOneVF(args[0])
		return err
	}, func(ctx context.Context) error { return o.run(ctx, e) })
	flags.AddPF(cmd)
	return cmd
}

func (o *resetOptions) run(ctx context.Context, e *env.Env) error {
	return inSession(ctx, e, func(ctx context.Context, s *session) error {
		vf, err := s.unusedVF(o.config.Host, o.vf)
		if err != nil {
			return err
		}
		err = s.step(fmt.Sprintf("reset %s", vf.Address), func() error { return vf.Reset(ctx) })
		if err != nil {
			return err
		}
		return s.dropHalts(xe.Halt{VF: vf.Address}, 0) // after a reset the VF runs
	})
}
