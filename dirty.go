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
	"vmtb/internal/prose"
)

// A deadRun is one that died, or could not put the host back; or what "vmtb vf" has done to it, if dir is [state.manual].
type deadRun struct {
	dir  string // run directory
	left int    // changes that are not put back
}

// handwork says what was left by hand.
func (d deadRun) handwork() string {
	return fmt.Sprintf(`VFs are enabled by "vmtb vf enable", or changed by its like (%s in %s)`, prose.Count(d.left, "change"), d.dir)
}

// byHand tells what is meant from what was left.
func (a *app) byHand(d deadRun) bool { return d.dir == a.state.manual }

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
		d := deadRun{dir, a.leftIn(dir, log)}
		err = log.Close()
		switch {
		case d.left > 0:
			dead = append(dead, d)
		case !a.byHand(d): // somebody may open that one at any time
			err = errors.Join(err, a.forget(n.Journal))
		}
		if err != nil {
			return nil, err
		}
	}
	if i := slices.IndexFunc(dead, a.byHand); i >= 0 { // machines stand on what was done by hand: it is put back last
		dead = append(slices.Delete(slices.Clone(dead), i, i+1), dead[i])
	}
	return dead, nil
}

// leftIn is how many changes in a journal are not put back. Those by hand that a reboot has undone are nobody's concern, for
// "vmtb recover" is told of dead runs only.
func (a *app) leftIn(dir string, log *undo.Log) int {
	pending := log.Pending()
	if dir == a.state.manual {
		pending = slices.DeleteFunc(pending, undo.Entry.Gone)
	}
	return len(pending)
}

// cleanHost sees to it that a run does not begin on what a dead one has left: it puts the host back if it may, else it
// is an error. A run that is resumed does that itself. What somebody has set up by hand is in the way, too, but not a run's to put
// back. The host is locked.
func (a *app) cleanHost(ctx context.Context, mayRecover bool, resumed string) error {
	dead, err := a.deadRuns()
	dead = slices.DeleteFunc(dead, func(d deadRun) bool { return d.dir == resumed })
	if err != nil || len(dead) == 0 {
		return err
	}
	if i := slices.IndexFunc(dead, a.byHand); i >= 0 {
		return &bench.InfraError{
			Op:     "begin on this host",
			Err:    errors.New(dead[i].handwork()),
			Advice: `"vmtb vf disable" puts the host back`,
		}
	}
	if !mayRecover {
		return inTheWay(dead, `"vmtb recover" puts it back, and so does this command with --recover before it begins`)
	}
	for _, d := range dead {
		fmt.Fprintf(a.err, "vmtb: putting back what %s has left\n", d.dir)
		if err := a.recoverDead(ctx, d.dir); err != nil {
			return err
		}
	}
	return nil
}

func inTheWay(dead []deadRun, advice string) error {
	var lines []string
	for _, d := range dead {
		lines = append(lines, fmt.Sprintf("%s left %s", d.dir, prose.Count(d.left, "change")))
	}
	return &bench.InfraError{
		Op:     "begin on this host",
		Err:    fmt.Errorf("it is not as it was before a run that died: %s", strings.Join(lines, "; ")),
		Advice: advice,
	}
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
