package vm

import (
	"context"
	"errors"
	"path/filepath"

	"vmtb/bench/qmp"
)

// StateFiles saves a machine's state to files of the host, and loads it from them.
type StateFiles struct {
	qmp    *qmp.Client
	states *states
	mover  *mover
}

// Save stops the machine and writes its state to a file. The content of the disks stays in the
// disks, so the file belongs to them. The machine is paused then. If it goes on with
// [Power.Resume], the file becomes worthless.
func (f *StateFiles) Save(ctx context.Context, path string) (done Migration, err error) {
	var was State
	err = f.states.transit(ctx, saveFile, func(ctx context.Context) error {
		if path, err = filepath.Abs(path); err != nil {
			return err
		}
		if was, err = f.states.now(ctx); err != nil {
			return err
		}
		if err := errors.Join(
			f.mover.check(ctx, saveFile.Name), f.mover.room(saveFile.Name, filepath.Dir(path)),
		); err != nil {
			return err
		}
		if err := f.qmp.Execute(ctx, "stop", nil, nil); err != nil {
			return err
		}
		if done, err = f.mover.send(ctx, "file:"+path, MigrateOptions{}); err != nil {
			err = errors.Join(err, f.mover.takeUp(ctx, was))
		}
		return err
	}, f.states.prove(saveFile))
	return done, err
}

// Load takes a machine that was started with [ModeIncoming] to the state in a file of
// [StateFiles.Save]. Its disks must have the content that they had then: see [VM.Again] and
// [VM.Twin]. The machine is paused then.
func (f *StateFiles) Load(ctx context.Context, path string) error {
	return f.states.transit(ctx, loadFile, func(ctx context.Context) error {
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		if err := f.mover.receive(ctx, "file:"+abs); err != nil {
			return err
		}
		f.states.loaded = true
		return f.mover.arrived(ctx)
	}, f.states.prove(loadFile))
}
