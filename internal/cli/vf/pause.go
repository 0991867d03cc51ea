package vf

import (
	"context"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/internal/cli/env"
	"vmtb/internal/pick"
)

// controlOptions are the flags of "vmtb vf pause", "vmtb vf resume" and "vmtb vf stop".
type controlOptions struct {
	config *bench.Config
	vf     pick.VFName
}

func pauseCommand(e *env.Env) *cobra.Command {
	return controlCommand(e, &cobra.Command{
		Use:   "pause VF",
		Short: "Pause a VF: its work on the GPU stops until it is resumed",
		Long: `Pauses an enabled VF ("1", "VF1" or its PCI address): the GPU does none of its work until
"vmtb vf resume". A virtual machine that uses the VF continues, and waits for its GPU. A paused VF can be saved and
restored.

"vmtb vf disable" (or "vmtb recover") resumes the VF. Needs debugfs.`,
		Example: `  vmtb vf pause 1`,
	}, (*controlOptions).pause)
}

func resumeCommand(e *env.Env) *cobra.Command {
	return controlCommand(e, &cobra.Command{
		Use:   "resume VF",
		Short: "Resume a paused VF",
		Long: `Resumes a paused VF ("1", "VF1" or its PCI address): the GPU continues its work, or the
work of the restored state. There is nothing to undo afterwards. Needs debugfs.`,
		Example: `  vmtb vf resume 1`,
	}, (*controlOptions).resume)
}

func stopCommand(e *env.Env) *cobra.Command {
	return controlCommand(e, &cobra.Command{
		Use:   "stop VF",
		Short: "Stop a VF, until it is reset",
		Long: `Stops an enabled VF ("1", "VF1" or its PCI address), whatever its state: the GPU takes no more
work from it, and its present work is lost. Only "vmtb vf reset" makes it usable again. Refused while a process
uses the VF, because that process would lose its work.

"vmtb vf disable" (or "vmtb recover") resets the VF.`,
		Example: `  vmtb vf stop 1`,
	}, (*controlOptions).stop)
}

// controlCommand completes a command whose argument is a VF, and whose body is run.
func controlCommand(
	e *env.Env, cmd *cobra.Command, run func(*controlOptions, context.Context, *env.Env) error,
) *cobra.Command {
	var flags env.ConfigFlags
	var o controlOptions
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = changeVFs(&flags, func(c *bench.Config, args []string) (err error) {
		o.config = c
		o.vf, err = pick.ParseOneVF(args[0])
		return err
	}, func(ctx context.Context) error { return run(&o, ctx, e) })
	flags.AddPF(cmd)
	return cmd
}

func (o *controlOptions) pause(ctx context.Context, e *env.Env) error {
	return inSession(ctx, e, func(ctx context.Context, s *session) error {
		vf, err := s.control(o.config.Host, o.vf, "paused", true)
		if err != nil {
			return err
		}
		return s.step("pause "+vf.name, func() error {
			return s.halting(ctx, vf, func() error { return vf.Pause(ctx) })
		})
	})
}

func (o *controlOptions) resume(ctx context.Context, e *env.Env) error {
	return inSession(ctx, e, func(ctx context.Context, s *session) error {
		vf, err := s.control(o.config.Host, o.vf, "paused", true)
		if err != nil {
			return err
		}
		return s.step("resume "+vf.name, func() error {
			if err := vf.Resume(ctx); err != nil {
				return err
			}
			return s.dropHalts(vf.halt, 0)
		})
	})
}

func (o *controlOptions) stop(ctx context.Context, e *env.Env) error {
	return inSession(ctx, e, func(ctx context.Context, s *session) error {
		vf, err := s.control(o.config.Host, o.vf, "stopped", false)
		if err != nil {
			return err
		}
		return s.step("stop "+vf.name, func() error {
			return s.halting(ctx, vf, func() error { return vf.Stop(ctx) })
		})
	})
}
