package vmtb

import (
	"context"
	"errors"

	"vmtb/bench/undo"
	"vmtb/bench/work"
	"vmtb/flow"
)

// openLog opens a journal of host changes, with all kinds of records that flows make.
func openLog(path string) (*undo.Log, error) { return undo.Open(path, undo.KindOf[work.Leftover]()) }

// openUndo opens the journal of host changes of a run, which leaves word of it for as long as there is something to put
// back.
func (a *app) openUndo(path string) (*runUndo, error) {
	log, err := openLog(path)
	if err != nil {
		return nil, err
	}
	if err := a.state.runs.Enter(path); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &runUndo{log, a.system, func() error { return a.state.runs.Leave(path) }}, nil
}

// openFlowUndo is openUndo for the engine.
func (a *app) openFlowUndo(path string) (flow.Undo, error) {
	u, err := a.openUndo(path)
	if err != nil {
		return nil, err // and not an interface that holds nil
	}
	return u, nil
}

// A runUndo is the journal of a run with the system on which it is undone.
type runUndo struct {
	*undo.Log
	system undo.System
	leave  func() error // takes the note of the run away
}

// Undo implements [flow.Undo].
func (u *runUndo) Undo(ctx context.Context) error { return u.Log.Undo(ctx, u.system) }

// Close closes the journal, and takes the note away if nothing is left to put back.
func (u *runUndo) Close() error {
	left := len(u.Pending())
	err := u.Log.Close()
	if left == 0 {
		err = errors.Join(err, u.leave())
	}
	return err
}
