package vmtb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/flow"
)

func (a *app) recoverCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "recover DIR",
		Short: "Put the host back after a run that died",
		Long: `Undoes what the run in the run directory DIR has changed on this host and not put back: it kills machines that
are left, gives VFs back, removes them and resets their provisioning. It does so from the journal DIR/undo.jsonl,
newest change first, and looks at the host before each: what is as it was, or has become somebody else's, is left
alone. While that run is alive it refuses. Doing it twice does no harm.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.recover(cmd.Context(), args[0]) },
	}
}

func (a *app) recover(ctx context.Context, dir string) error {
	path := filepath.Join(dir, flow.UndoFile)
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return &bench.UsageError{Err: fmt.Errorf("%s: no run directory with a journal of host changes (%s)", dir, flow.UndoFile)}
		}
		return &bench.InfraError{Op: "open the journal", Err: err}
	}
	log, err := undo.Open(path)
	if errors.Is(err, undo.ErrInUse) {
		return &bench.UsageError{Err: fmt.Errorf("%s: that run is alive", dir), Advice: "interrupt it instead"}
	}
	if err != nil {
		return &bench.InfraError{Op: "open the journal", Err: err}
	}
	defer log.Close()
	pending := log.Pending()
	if len(pending) == 0 {
		fmt.Fprintln(a.out, "Nothing to put back.")
		return nil
	}
	for i := len(pending) - 1; i >= 0; i-- {
		fmt.Fprintf(a.out, "undoing %s\n", pending[i].Record)
	}
	err = log.Undo(ctx, host.OS{})
	if left := log.Pending(); len(left) > 0 {
		fmt.Fprintf(a.err, "vmtb: not put back: %s\n", printable(err.Error()))
		return exitCode(flow.ExitNotRestored)
	}
	if err != nil { // somebody else's by now
		fmt.Fprintf(a.err, "vmtb: %s\n", printable(err.Error()))
	}
	fmt.Fprintln(a.out, "The host is as it was.")
	return nil
}
