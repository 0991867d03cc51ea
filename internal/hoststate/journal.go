package hoststate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/bench/work"
	"vmtb/bench/xe"
	"vmtb/flow"
)

// A Journal is the open journal of a run's host changes, with the system on which they are undone.
type Journal struct {
	*undo.Log
	system     undo.System
	removeNote func() error // removes the note of the run
}

// OpenJournal opens the journal of host changes at path. s.Runs has a note for it while it has
// pending changes.
func (s State) OpenJournal(system undo.System, path string) (*Journal, error) {
	log, err := openLog(path)
	if err != nil {
		return nil, err
	}
	if err := s.Runs.Enter(path); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &Journal{log, system, func() error { return s.Runs.Leave(path) }}, nil
}

// openLog opens a journal with all kinds of records that flows and "vmtb vf" write.
func openLog(path string) (*undo.Log, error) { return undo.Open(path, kinds()...) }

// kinds returns vmtb's kinds of records from outside package undo.
func kinds() []undo.Kind { return []undo.Kind{undo.KindOf[work.Leftover](), undo.KindOf[xe.Halt]()} }

// Undo implements [flow.Undo].
func (j *Journal) Undo(ctx context.Context) error { return j.Log.Undo(ctx, j.system) }

// Close closes the journal, and removes its note if nothing is left to undo.
func (j *Journal) Close() error {
	left := len(j.Pending())
	err := j.Log.Close()
	if left == 0 {
		err = errors.Join(err, j.removeNote())
	}
	return err
}

// JournalIn returns the absolute path of the journal of host changes in a run directory.
func JournalIn(dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, flow.UndoFile))
	if err != nil {
		return "", &bench.InfraError{Op: "open the journal", Err: err}
	}
	return path, nil
}

// OpenDead opens the journal at path of the run in dir. The run must not be alive. If there is no
// journal, the error matches [fs.ErrNotExist].
func OpenDead(dir, path string) (*undo.Log, error) {
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			return nil, &bench.UsageError{
				Err: fmt.Errorf("%s: not a run directory with a journal of host changes: %w", dir, err),
			}
		}
		return nil, &bench.InfraError{Op: "open the journal", Err: err}
	}
	log, err := openLog(path)
	if errors.Is(err, undo.ErrInUse) {
		return nil, &bench.UsageError{
			Err: fmt.Errorf("%s: that run is alive: %w", dir, err), Advice: "interrupt the run instead",
		}
	}
	if err != nil {
		return nil, &bench.InfraError{Op: "open the journal", Err: err}
	}
	return log, nil
}

// Forget removes the note of a run.
func (s State) Forget(journal string) error {
	if err := s.Runs.Leave(journal); err != nil {
		return &bench.InfraError{Op: "forget a run", Err: err}
	}
	return nil
}
