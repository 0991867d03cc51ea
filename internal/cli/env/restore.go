package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/hoststate"
)

// UndoSince undoes the changes in log that are newer than mark, and prints the outcome of each:
// successes to out, failures to e.Err.
func (e *Env) UndoSince(ctx context.Context, log *undo.Log, mark undo.Mark, out io.Writer) {
	// Its error joins those printed here.
	_ = log.UndoAndTell(ctx, e.System, mark, func(c undo.Entry, err error) {
		switch {
		case err == nil:
			fmt.Fprintf(out, "undone: %s\n", ansi.Printable(c.Record.Undone()))
		case errors.Is(err, undo.ErrNotOurs), errors.Is(err, undo.ErrPast):
			fmt.Fprintf(out, "left alone: %s: %s\n", ansi.Printable(c.Record.String()), ansi.Printable(err.Error()))
		default:
			fmt.Fprintf(
				e.Err, "vmtb: NOT undone: %s: %s\n", ansi.Printable(c.Record.String()), ansi.Printable(err.Error()),
			)
		}
	})
}

// Restore undoes all pending changes in log, and prints the outcome of each. If the host could not
// be restored, the error is an [ExitCode].
func (e *Env) Restore(ctx context.Context, log *undo.Log, out io.Writer) error {
	e.UndoSince(ctx, log, 0, out)
	if n := len(log.Pending()); n > 0 {
		fmt.Fprintf(e.Err, "vmtb: the host is not restored: %d of its changes are not undone\n", n)
		return ExitCode(flow.ExitNotRestored)
	}
	fmt.Fprintln(out, "The host is restored.")
	return nil
}

// CleanHost makes sure that a run does not begin on a host that a dead run has left changed. If
// mayRecover is true it restores the host; otherwise it returns an error. It ignores the run in the
// directory resumed, because resuming restores the host itself. Changes made by "vmtb vf" are an
// error, too: CleanHost never undoes them. The caller holds the lock of the host.
func (e *Env) CleanHost(ctx context.Context, mayRecover bool, resumed string) error {
	dead, err := e.State.DeadRuns(e.Err)
	dead = slices.DeleteFunc(dead, func(d hoststate.DeadRun) bool { return d.Dir == resumed })
	if err != nil || len(dead) == 0 {
		return err
	}
	if i := slices.IndexFunc(dead, e.State.HasVFChanges); i >= 0 {
		return &bench.InfraError{
			Op:     "begin on this host",
			Err:    errors.New(dead[i].VFChangesText()),
			Advice: `"vmtb vf disable" restores the host`,
		}
	}
	if !mayRecover {
		const advice = `"vmtb recover" undoes it, and so does this command with --recover before it begins`
		return hoststate.Obstacle(dead, advice)
	}
	for _, d := range dead {
		fmt.Fprintf(e.Err, "vmtb: undoing the changes of the run in %s\n", d.Dir)
		if err := e.restoreAfter(ctx, d.Dir); err != nil {
			return err
		}
	}
	return nil
}

// restoreAfter undoes the changes of the dead run in dir. It prints to e.Err, because e.Out belongs
// to the new run.
func (e *Env) restoreAfter(ctx context.Context, dir string) error {
	path, err := hoststate.JournalIn(dir)
	if err != nil {
		return err
	}
	log, err := hoststate.OpenDead(dir, path)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := e.Restore(ctx, log, e.Err); err != nil {
		return err
	}
	return e.State.Forget(path)
}
