package work

import (
	"context"
	"fmt"
	"path"
	"strings"

	"vmtb/bench"
	"vmtb/bench/undo"
)

// A Handle identifies a run on its machine.
type Handle struct {
	Dir     string // the private directory
	PID     int    // the shell that supervises the workload
	Start   uint64 // start time of PID, in clock ticks after boot
	Session int    // the workload's session, 0 if it has none of its own
	Boot    string // id of the machine's boot

	Shell *Shell // the workload: one of these is set
	IGT   *IGT
	Wsim  *Wsim
}

func (h *Handle) describe(w Workload) error {
	switch w := w.(type) {
	case Shell:
		h.Shell = &w
	case IGT:
		h.IGT = &w
	case Wsim:
		h.Wsim = &w
	default:
		return &bench.UsageError{Err: fmt.Errorf("%T is not a workload of this package", w)}
	}
	return nil
}

func (h *Handle) workload() Workload {
	switch {
	case h.Shell != nil:
		return *h.Shell
	case h.IGT != nil:
		return *h.IGT
	case h.Wsim != nil:
		return *h.Wsim
	}
	return nil
}

func (h *Handle) mark() string { return markVar + h.Dir }

// isPrivate checks a directory before it is removed.
func isPrivate(dir string) bool {
	return path.IsAbs(dir) && path.Clean(dir) == dir && strings.HasPrefix(path.Base(dir), dirPrefix)
}

// A Leftover has the processes and directories that a run leaves on the host until they are
// removed. It is an [undo.Record]: pass undo.KindOf[work.Leftover]() to [undo.Open].
type Leftover struct {
	Dir     string `json:"dir"`
	Results string `json:"results,omitempty"`
}

var _ undo.Record = Leftover{}

// Kind implements [undo.Record].
func (Leftover) Kind() string { return "workload" }

func (l Leftover) String() string { return "workload started in " + l.Dir }

// Undone implements [undo.Record].
func (l Leftover) Undone() string { return "workload in " + l.Dir + " ended and removed" }

// Undo implements [undo.Record]. The directory's name is unique, so Undo may run at any later time.
func (l Leftover) Undo(ctx context.Context, sys undo.System) error {
	host, ok := sys.(execer)
	if !ok {
		return fmt.Errorf("%v: this system cannot run programs: %w", l, bench.ErrNotAvailable)
	}
	return l.clean(ctx, host)
}

type execer interface {
	Exec(ctx context.Context, c bench.Command) (bench.Result, error)
}

func (l Leftover) clean(ctx context.Context, m execer) error {
	for _, dir := range []string{l.Dir, l.Results} {
		if dir != "" && !isPrivate(dir) {
			return fmt.Errorf("will not remove %q: it is not the directory of a workload", dir)
		}
	}
	if err := sweepAll(ctx, m, Handle{Dir: l.Dir}); err != nil {
		return err
	}
	remove := bench.Command{Argv: []string{"rm", "-rf", "--", l.Dir}}
	if l.Results != "" {
		remove.Argv = append(remove.Argv, l.Results)
	}
	r, err := m.Exec(ctx, remove)
	if err == nil {
		err = r.Err(remove)
	}
	return err
}
