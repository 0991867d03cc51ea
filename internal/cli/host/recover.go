package host

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
	"vmtb/bench/keep"
	"vmtb/bench/undo"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/internal/hoststate"
)

// RecoverOptions are the flags of "vmtb recover".
type RecoverOptions struct {
	Forget bool // forget the changes that cannot be undone
}

// RecoverCommand returns "vmtb recover".
func RecoverCommand(e *env.Env) *cobra.Command {
	var o RecoverOptions
	cmd := &cobra.Command{
		Use:   "recover [DIR...]",
		Short: "Restore the host after a run that died",
		Long: `Undoes the changes that the runs in the run directories DIR made on this host and did not undo.
Without DIR it does so for every such run that is registered on this host, and for the changes made by
"vmtb vf"; it first ends the machines started by "vmtb vm start". It kills leftover machines, restores the VFs' drivers,
disables the VFs and resets their provisioning. It reads the journal DIR/undo.jsonl, newest change first, and looks
at the host before each step: it leaves changes alone that are already undone, that now have another owner, or that a
reboot has removed. It refuses while a run is alive. Running it twice does no harm.
"vmtb help resume-and-recover" has more.`,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: env.CompleteDirs,
		RunE: func(cmd *cobra.Command, dirs []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return o.Run(ctx, e, dirs)
		},
	}
	cmd.Flags().BoolVar(&o.Forget, "forget", false, "forget the changes that cannot be undone: they stay on the host")
	return cmd
}

// Run restores the host after the runs in dirs, or after all dead runs if dirs is empty.
func (o *RecoverOptions) Run(ctx context.Context, e *env.Env, dirs []string) error {
	if len(dirs) == 0 {
		if err := endKept(ctx, e); err != nil {
			return err
		}
		dead, err := e.State.DeadRuns(e.Err)
		if err != nil {
			return err
		}
		for _, d := range dead {
			dirs = append(dirs, d.Dir)
		}
		if len(dirs) == 0 {
			fmt.Fprintln(e.Out, "Nothing to undo.")
			return nil
		}
	}
	var worst error
	for _, dir := range dirs {
		err := o.recoverRun(ctx, e, flows.RunDirIn(dir))
		if _, bad := errors.AsType[env.ExitCode](err); err != nil && !bad {
			return err
		}
		worst = errors.Join(worst, err)
	}
	return worst
}

// recoverRun undoes the changes of one dead run.
func (o *RecoverOptions) recoverRun(ctx context.Context, e *env.Env, dir string) error {
	path, err := hoststate.JournalIn(dir)
	if err != nil {
		return err
	}
	log, err := hoststate.OpenDead(dir, path)
	if errors.Is(err, fs.ErrNotExist) && o.Forget {
		return e.State.Forget(path)
	}
	if err != nil {
		return err
	}
	defer log.Close()
	if len(log.Pending()) == 0 {
		fmt.Fprintln(e.Out, "Nothing to undo.")
		return e.State.Forget(path)
	}
	if err := e.State.CheckThisHost(dir, path); err != nil {
		return err
	}
	unlock, err := host.Lock(e.State.LockFile) // a living run may use what the dead one has changed
	if err != nil {
		return err
	}
	defer unlock()
	return o.restore(ctx, e, log, path)
}

// restore undoes the changes in a journal. Changes that cannot be undone stay in it, unless
// o.Forget is set.
func (o *RecoverOptions) restore(ctx context.Context, e *env.Env, log *undo.Log, path string) error {
	byVF := filepath.Dir(path) == e.State.VFChanges
	if byVF {
		if err := hoststate.CheckUnused(e.System, log); err != nil {
			return err
		}
	}
	if err := e.Restore(ctx, log, e.Out); err != nil {
		if !o.Forget {
			return err
		}
		fmt.Fprintln(e.Out, "The changes that could not be undone are forgotten.")
		if byVF { // the next "vmtb vf" begins a new journal
			if err := os.Remove(path); err != nil {
				return &bench.InfraError{Op: "remove the journal of vmtb vf", Err: err}
			}
		}
	}
	return e.State.Forget(path)
}

// endKept ends the living machines, and prints their names.
func endKept(ctx context.Context, e *env.Env) error {
	living, err := hoststate.Living(e.State.Machines)
	for _, r := range living {
		c, openErr := e.State.Machines.Open(r.Name)
		if openErr != nil {
			continue // the machine has just ended
		}
		killErr := c.Kill(ctx, nil)
		// The machine has ended; recover continues with its journal.
		if errors.Is(killErr, keep.ErrNotRestored) {
			fmt.Fprintf(e.Err, "vmtb: machine %s has ended: %s\n", r.Name, ansi.Printable(killErr.Error()))
			continue
		}
		if killErr != nil {
			err = errors.Join(err, killErr)
			continue
		}
		fmt.Fprintf(e.Out, "ended: machine %s, which \"vmtb vm start\" had started\n", r.Name)
	}
	return err
}
