package vf

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/internal/cli/env"
)

// Command returns "vmtb vf".
func Command(e *env.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vf",
		Short: "List a GPU's Virtual Functions, and set them up by hand",
		Long: `Lists the Virtual Functions of a GPU of the xe driver, and sets them up for your own virtual
machines.

The changes of these commands stay until "vmtb vf disable" or "vmtb recover", which restores the host to its
state before the first of them, or until a reboot. Meanwhile "vmtb run" refuses to begin. "vmtb help vf" has
more.`,
	}
	cmd.AddCommand(
		listCommand(e), enableCommand(e), provisionCommand(e), resetCommand(e), bindCommand(e), pauseCommand(e),
		resumeCommand(e), stopCommand(e), saveCommand(e), restoreCommand(e), disableCommand(e),
	)
	return cmd
}

// changeVFs returns the body of a command that changes VFs. It parses the arguments and calls run,
// which needs root. An interrupt undoes run's changes.
func changeVFs(
	flags *env.ConfigFlags, parse func(c *bench.Config, args []string) error, run func(ctx context.Context) error,
) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		config, _, err := flags.Load()
		if err != nil {
			return err
		}
		if err := parse(config, args); err != nil {
			return err
		}
		if err := env.CheckRoot(cmd.CommandPath(), os.Geteuid()); err != nil {
			return err
		}
		ctx, stop := env.CancelOnInterrupt(cmd.Context())
		defer stop()
		return run(ctx)
	}
}
