package vm

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/internal/cli/env"
)

func keepCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "keep directory", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return keepMachine(ctx, e, args[0])
		},
	}
}

// keepMachine is the main function of the process that keeps a machine: see package keep.
func keepMachine(ctx context.Context, e *env.Env, dir string) error {
	started := keep.Started()
	if info, err := started.Stat(); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		return &bench.UsageError{Err: errors.New("vmtb vm keep is only for use by vmtb vm start")}
	}
	defer started.Close()
	return keep.Run(ctx, dir, func(path string) (keep.Undo, error) {
		u, err := e.State.OpenJournal(e.System, path)
		if err != nil {
			return nil, err // not u: an interface that holds a nil pointer is not nil
		}
		return u, nil
	}, started)
}
