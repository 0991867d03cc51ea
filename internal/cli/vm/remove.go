package vm

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/internal/cli/env"
)

// removeOptions are the flags of "vmtb vm rm".
type removeOptions struct {
	all bool
}

func removeCommand(e *env.Env) *cobra.Command {
	var o removeOptions
	cmd := &cobra.Command{
		Use: "rm machine... | --all", Aliases: []string{"remove"},
		Short: "Remove the records and logs of machines that have ended",
		Long: `Removes the folders of machines that have ended, with their logs: "vmtb vm list --all" no
longer shows them. A machine that has not ended is refused: "vmtb vm off" ends it.`,
		ValidArgsFunction: completeEnded(e),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return o.run(ctx, e, args)
		},
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "all machines that have ended")
	return cmd
}

func (o *removeOptions) run(ctx context.Context, e *env.Env, names []string) error {
	if o.all == (len(names) > 0) {
		return &bench.UsageError{
			Err: errors.New("want the names of machines, or --all"), Advice: "vmtb vm list --all shows them",
		}
	}
	if o.all {
		var err error
		if names, err = endedMachines(e); err != nil {
			return err
		}
	}
	var errs []error
	for _, name := range names {
		err := e.State.Machines.Remove(ctx, name)
		if err == nil {
			fmt.Fprintln(e.Out, name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// endedMachines returns the names of the machines that have ended.
func endedMachines(e *env.Env) ([]string, error) {
	records, err := e.State.Machines.List()
	var names []string
	for _, r := range records {
		if r.Life() == keep.Ended {
			names = append(names, r.Name)
		}
	}
	return names, err
}

// completeEnded offers the names of machines that have ended.
func completeEnded(e *env.Env) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		names, err := endedMachines(e)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
