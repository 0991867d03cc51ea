package lab

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/machines"
)

func listCommand(e *env.Env) *cobra.Command {
	cmd := machines.ListCommand(e, e.State.Labs)
	cmd.Short = "List the labs that are up: state, logs"
	return cmd
}

func stopCommand(e *env.Env) *cobra.Command {
	o := machines.EndOptions{
		Store: e.State.Labs, What: "stop",
		End: func(ctx context.Context, c *keep.Client, progress func(string)) error { return c.Kill(ctx, progress) },
	}
	cmd := &cobra.Command{
		Use: "stop [lab...]", Aliases: []string{"off"}, Short: "End labs that are up",
		Long: `Ends the lab that is up, or the named labs. Their disks are deleted; the directory that they
share with this machine stays.`,
		ValidArgsFunction: machines.Complete(e.State.Labs),
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 && !o.All {
				c, err := runningLab(e, "")
				if err != nil {
					return err
				}
				if c == nil {
					return &bench.UsageError{Err: errors.New("no lab is up"), Advice: "vmtb lab start starts one"}
				}
				names = []string{c.Name()}
			}
			return o.Run(cmd.Context(), e, names)
		},
	}
	cmd.Flags().BoolVar(&o.All, "all", false, "all labs")
	return cmd
}

func logsCommand(e *env.Env) *cobra.Command {
	cmd := machines.LogsCommand(e, e.State.Labs)
	cmd.Use, cmd.Short = "logs lab [log]", "Print a lab's logs: its console, or QEMU's messages; -f follows"
	cmd.Example = "  vmtb lab logs -f lab0"
	return cmd
}
