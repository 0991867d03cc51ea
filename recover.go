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
	"vmtb/bench/keep"
	"vmtb/bench/undo"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/hoststate"
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
		Args: cobra.ArbitraryArgs, ValidArgsFunction: env.CompleteDirs,
		RunE: func(cmd *cobra.Command, dirs []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
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
		dead, err := a.State.DeadRuns(a.Err)
		if err != nil {
			return err
		}
		for _, d := range dead {
			dirs = append(dirs, d.Dir)
		}
		if len(dirs) == 0 {
			fmt.Fprintln(a.Out, "Nothing to put back.")
			return nil
		}
	}
	var worst error
	for _, dir := range dirs {
		err := a.recoverRun(ctx, runDirIn(dir), forget)
		if _, bad := errors.AsType[env.ExitCode](err); err != nil && !bad {
			return err
		}
		worst = errors.Join(worst, err)
	}
	return worst
}

// recoverRun puts back what one dead run has left.
func (a *app) recoverRun(ctx context.Context, dir string, forget bool) error {
	path, err := hoststate.JournalIn(dir)
	if err != nil {
		return err
	}
	log, err := hoststate.OpenDead(dir, path)
	if errors.Is(err, fs.ErrNotExist) && forget {
		return a.State.Forget(path)
	}
	if err != nil {
		return err
	}
	defer log.Close()
	if len(log.Pending()) == 0 {
		fmt.Fprintln(a.Out, "Nothing to put back.")
		return a.State.Forget(path)
	}
	if err := a.State.CheckThisHost(dir, path); err != nil {
		return err
	}
	unlock, err := host.Lock(a.State.LockFile) // the living run may use what the dead one has left
	if err != nil {
		return err
	}
	defer unlock()
	return a.putBackOrForget(ctx, log, path, forget)
}

// putBackOrForget puts back what a journal has, and keeps in mind what it could not put back unless that is to be forgotten.
func (a *app) putBackOrForget(ctx context.Context, log *undo.Log, path string, forget bool) error {
	manual := filepath.Dir(path) == a.State.VFChanges
	if manual {
		if err := hoststate.CheckUnused(a.System, log); err != nil {
			return err
		}
	}
	if err := a.Restore(ctx, log, a.Out); err != nil {
		if !forget {
			return err
		}
		fmt.Fprintln(a.Out, "What was not put back is forgotten.")
		if manual { // the next command by hand begins anew
			if err := os.Remove(path); err != nil {
				return &bench.InfraError{Op: "forget what was done by hand", Err: err}
			}
		}
	}
	return a.State.Forget(path)
}

// endKept ends the machines that are kept, for "vmtb recover", and says so.
func (a *app) endKept(ctx context.Context) error {
	living, err := hoststate.Living(a.State.Machines)
	for _, r := range living {
		c, openErr := a.State.Machines.Open(r.Name)
		if openErr != nil {
			continue // it has just ended by itself
		}
		killErr := c.Kill(ctx, nil)
		if errors.Is(killErr, keep.ErrNotRestored) { // it has ended; its journal is what recover goes on with
			fmt.Fprintf(a.Err, "vmtb: machine %s has ended: %s\n", r.Name, ansi.Printable(killErr.Error()))
			continue
		}
		if killErr != nil {
			err = errors.Join(err, killErr)
			continue
		}
		fmt.Fprintf(a.Out, "ended: machine %s, which \"vmtb vm start\" had started\n", r.Name)
	}
	return err
}
