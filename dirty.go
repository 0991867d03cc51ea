package vmtb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"vmtb/bench"
	"vmtb/bench/undo"
)

// A deadRun is one that died, or could not put the host back.
type deadRun struct {
	dir  string // run directory
	left int    // changes that are not put back
}

// deadRuns are the runs that have left something on this host. Notes of runs that have left nothing are taken away; one
// whose journal is not there any more is told, for nobody knows what it has left.
func (a *app) deadRuns() ([]deadRun, error) {
	notes, err := a.state.runs.Notes()
	if err != nil {
		return nil, &bench.InfraError{Op: "look for dead runs", Err: err, Advice: "remove the file if it is not vmtb's"}
	}
	var dead []deadRun
	for _, n := range notes {
		dir := filepath.Dir(n.Journal)
		log, err := openDead(dir, n.Journal)
		switch {
		case errors.Is(err, undo.ErrInUse):
			continue
		case errors.Is(err, fs.ErrNotExist):
			fmt.Fprintf(a.err, "vmtb: the run in %s (pid %d) died, and its directory is gone: what it has left is not known (vmtb recover --forget %[1]s ends this message)\n", dir, n.Process.PID)
			continue
		case err != nil:
			return nil, err
		}
		left := len(log.Pending())
		err = log.Close()
		if left > 0 {
			dead = append(dead, deadRun{dir, left})
		} else {
			err = errors.Join(err, a.forget(n.Journal))
		}
		if err != nil {
			return nil, err
		}
	}
	return dead, nil
}

// cleanHost sees to it that a run does not begin on what a dead one has left: it puts the host back if it may, else it
// is an error. A run that is resumed does that itself. The host is locked.
func (a *app) cleanHost(ctx context.Context, mayRecover bool, resumed string) error {
	dead, err := a.deadRuns()
	dead = slices.DeleteFunc(dead, func(d deadRun) bool { return d.dir == resumed })
	if err != nil || len(dead) == 0 {
		return err
	}
	if !mayRecover {
		var lines []string
		for _, d := range dead {
			lines = append(lines, fmt.Sprintf("%s left %d changes", d.dir, d.left))
		}
		return &bench.InfraError{
			Op:     "begin on this host",
			Err:    fmt.Errorf("it is not as it was before a run that died: %s", strings.Join(lines, "; ")),
			Advice: `"vmtb recover" puts it back, and so does this command with --recover before it begins`,
		}
	}
	for _, d := range dead {
		fmt.Fprintf(a.err, "vmtb: putting back what %s has left\n", d.dir)
		if err := a.recoverDead(ctx, d.dir); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) recoverDead(ctx context.Context, dir string) error {
	path, err := journalOf(dir)
	if err != nil {
		return err
	}
	log, err := openDead(dir, path)
	if err != nil {
		return err
	}
	defer log.Close()
	told := *a
	told.out = a.err // our output is the run's
	if err := told.putBack(ctx, log); err != nil {
		return err
	}
	return a.forget(path)
}
