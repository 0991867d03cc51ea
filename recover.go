package vmtb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/flow"
)

func (a *app) recoverCommand() *cobra.Command {
	var forget bool
	cmd := &cobra.Command{
		Use:   "recover [DIR...]",
		Short: "Put the host back after a run that died",
		Long: `Undoes the changes that the runs in the run directories DIR made on this host and did not undo. Without DIR it does so
for every such run that is registered on this host, and for the changes made by "vmtb vf"; it first ends the machines
started by "vmtb vm start". It kills leftover machines, gives VFs back, disables them and resets their provisioning.
It reads the journal DIR/undo.jsonl, newest change first, and looks at the host before each step: it leaves alone what
is already undone, what now has another owner, and what a reboot has removed. It refuses while a run is alive. Running
it twice does no harm.
"vmtb help resume-and-recover" tells more.`,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: completeDirs,
		RunE: func(cmd *cobra.Command, dirs []string) error {
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			return a.recover(ctx, dirs, forget)
		},
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "forget the changes that cannot be undone: they stay")
	return cmd
}

func (a *app) recover(ctx context.Context, dirs []string, forget bool) error {
	if len(dirs) == 0 {
		if err := a.endKept(ctx); err != nil {
			return err
		}
		dead, err := a.deadRuns()
		if err != nil {
			return err
		}
		for _, d := range dead {
			dirs = append(dirs, d.dir)
		}
		if len(dirs) == 0 {
			fmt.Fprintln(a.out, "Nothing to put back.")
			return nil
		}
	}
	var worst error
	for _, dir := range dirs {
		err := a.recoverRun(ctx, runDirIn(dir), forget)
		if _, bad := errors.AsType[exitCode](err); err != nil && !bad {
			return err
		}
		worst = errors.Join(worst, err)
	}
	return worst
}

// recoverRun puts back what one dead run has left.
func (a *app) recoverRun(ctx context.Context, dir string, forget bool) error {
	path, err := journalOf(dir)
	if err != nil {
		return err
	}
	log, err := openDead(dir, path)
	if errors.Is(err, fs.ErrNotExist) && forget {
		return a.forget(path)
	}
	if err != nil {
		return err
	}
	defer log.Close()
	if len(log.Pending()) == 0 {
		fmt.Fprintln(a.out, "Nothing to put back.")
		return a.forget(path)
	}
	if err := a.checkOurs(dir, path); err != nil {
		return err
	}
	unlock, err := host.Lock(a.state.lockFile) // the living run may use what the dead one has left
	if err != nil {
		return err
	}
	defer unlock()
	return a.putBackOrForget(ctx, log, path, forget)
}

// putBackOrForget puts back what a journal has, and keeps in mind what it could not put back unless that is to be forgotten.
func (a *app) putBackOrForget(ctx context.Context, log *undo.Log, path string, forget bool) error {
	manual := filepath.Dir(path) == a.state.manual
	if manual {
		if err := a.checkUnused(log); err != nil {
			return err
		}
	}
	if err := a.putBack(ctx, log); err != nil {
		if !forget {
			return err
		}
		fmt.Fprintln(a.out, "What was not put back is forgotten.")
		if manual { // the next command by hand begins anew
			if err := os.Remove(path); err != nil {
				return &bench.InfraError{Op: "forget what was done by hand", Err: err}
			}
		}
	}
	return a.forget(path)
}

// journalOf is the absolute path of the journal of host changes in a run directory.
func journalOf(dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, flow.UndoFile))
	if err != nil {
		return "", &bench.InfraError{Op: "open the journal", Err: err}
	}
	return path, nil
}

// openDead opens the journal of a run that is not alive. One that is not there matches [fs.ErrNotExist].
func openDead(dir, path string) (*undo.Log, error) {
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			return nil, &bench.UsageError{Err: fmt.Errorf("%s: no run directory with a journal of host changes: %w", dir, err)}
		}
		return nil, &bench.InfraError{Op: "open the journal", Err: err}
	}
	log, err := openLog(path)
	if errors.Is(err, undo.ErrInUse) {
		return nil, &bench.UsageError{Err: fmt.Errorf("%s: that run is alive: %w", dir, err), Advice: "interrupt it instead"}
	}
	if err != nil {
		return nil, &bench.InfraError{Op: "open the journal", Err: err}
	}
	return log, nil
}

// putBack undoes what is pending and says what came of it. The error is an [exitCode] when the host is not as it was.
func (a *app) putBack(ctx context.Context, log *undo.Log) error {
	a.takeBack(ctx, log, 0)
	if n := len(log.Pending()); n > 0 {
		fmt.Fprintf(a.err, "vmtb: the host is not as it was: %d of its changes are not put back\n", n)
		return exitCode(flow.ExitNotRestored)
	}
	fmt.Fprintln(a.out, "The host is as it was.")
	return nil
}

// takeBack undoes what is newer than a mark, and says what came of each change.
func (a *app) takeBack(ctx context.Context, log *undo.Log, m undo.Mark) {
	_ = log.UndoAndTell(ctx, a.system, m, func(e undo.Entry, err error) { // its error joins what is told here
		switch {
		case err == nil:
			fmt.Fprintf(a.out, "put back: %s\n", printable(e.Record.Undone()))
		case errors.Is(err, undo.ErrNotOurs), errors.Is(err, undo.ErrPast):
			fmt.Fprintf(a.out, "left alone: %s: %s\n", printable(e.Record.String()), printable(err.Error()))
		default:
			fmt.Fprintf(a.err, "vmtb: NOT put back: %s: %s\n", printable(e.Record.String()), printable(err.Error()))
		}
	})
}

// forget takes away the note of a run that has left nothing to put back.
func (a *app) forget(journal string) error {
	if err := a.state.runs.Leave(journal); err != nil {
		return &bench.InfraError{Op: "forget a run", Err: err}
	}
	return nil
}
