package hoststate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/internal/prose"
)

// A DeadRun is a run directory whose undo journal still has entries: its run crashed or could not
// restore the host. If Dir is [State.VFChanges], the entries are changes made by "vmtb vf".
type DeadRun struct {
	Dir  string
	Left int // number of changes that are not undone
}

// VFChangesText returns a text that says that "vmtb vf" has changed the host.
func (d DeadRun) VFChangesText() string {
	return fmt.Sprintf(
		`"vmtb vf" has enabled or changed VFs (%s in %s)`, prose.Count(d.Left, "change"), d.Dir,
	)
}

// HasVFChanges reports whether d holds deliberate changes made by "vmtb vf", not leftovers of a
// crashed run.
func (s State) HasVFChanges(d DeadRun) bool { return d.Dir == s.VFChanges }

// DeadRuns lists the runs that have left this host changed. It removes the notes of the other runs
// that have ended. If the directory of a run is missing, its changes are unknown: DeadRuns writes a
// line about it to warn.
func (s State) DeadRuns(warn io.Writer) ([]DeadRun, error) {
	notes, err := s.Runs.Notes()
	if err != nil {
		return nil, &bench.InfraError{Op: "look for dead runs", Err: err, Advice: "remove the file if it is not vmtb's"}
	}
	var dead []DeadRun
	for _, n := range notes {
		dir := filepath.Dir(n.Journal)
		log, err := OpenDead(dir, n.Journal)
		switch {
		case errors.Is(err, undo.ErrInUse):
			continue
		case errors.Is(err, fs.ErrNotExist):
			const format = "vmtb: the run in %s (pid %d) died, and its directory is missing: its changes are unknown " +
				"(vmtb recover --forget %[1]s ends this message)\n"
			fmt.Fprintf(warn, format, dir, n.Process.PID)
			continue
		case err != nil:
			return nil, err
		}
		d := DeadRun{dir, s.pendingChanges(dir, log)}
		err = log.Close()
		switch {
		case d.Left > 0:
			dead = append(dead, d)
		case !s.HasVFChanges(d): // a "vmtb vf" may open that journal at any time
			err = errors.Join(err, s.Forget(n.Journal))
		}
		if err != nil {
			return nil, err
		}
	}
	// Machines may use the VFs that "vmtb vf" has enabled: its changes are undone last.
	if i := slices.IndexFunc(dead, s.HasVFChanges); i >= 0 {
		dead = append(slices.Delete(slices.Clone(dead), i, i+1), dead[i])
	}
	return dead, nil
}

// pendingChanges returns how many changes in a journal are not undone. Changes by "vmtb vf" that a reboot has
// undone do not count: that journal belongs to no run that a user could give to "vmtb recover".
func (s State) pendingChanges(dir string, log *undo.Log) int {
	pending := log.Pending()
	if dir == s.VFChanges {
		pending = slices.DeleteFunc(pending, undo.Entry.Gone)
	}
	return len(pending)
}

// Obstacle returns the error for a command that dead runs prevent from beginning.
func Obstacle(dead []DeadRun, advice string) error {
	var lines []string
	for _, d := range dead {
		lines = append(lines, fmt.Sprintf("%s left %s", d.Dir, prose.Count(d.Left, "change")))
	}
	return &bench.InfraError{
		Op:     "begin on this host",
		Err:    fmt.Errorf("a run that died has left changes: %s", strings.Join(lines, "; ")),
		Advice: advice,
	}
}
