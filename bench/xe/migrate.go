package xe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"vmtb/bench"
)

const (
	drainTime  = 10 * time.Second // how long an abandoned save may take to end
	finishTime = 30 * time.Second // the driver itself waits up to 20 s for a restore to end
)

// Save writes the state of the paused VF, including its memory, to w. The VF stays paused and can
// be resumed, stopped or saved again. After an error the [ControlError] has its state: paused if
// the save could be ended, or else [StateSaving], which only a stop or a reset ends.
//
// The driver writes everything, whether it has changed or not: see [Control.MigrationSize].
func (c Control) Save(ctx context.Context, w io.Writer) error {
	const op = "save"
	if err := c.canMove(op); err != nil {
		return err
	}
	if err := c.pf.files.tree.Write(ctx, c.file(op), "1"); err != nil {
		return c.failed(op, "", err)
	}
	stream, store := &packets{}, &firstError{w: w}
	_, err := c.pf.files.tree.Pull(ctx, c.file("migration_data"), io.MultiWriter(stream, store))
	if err != nil {
		c.drain(ctx)
	}
	state := StatePaused
	if finish := c.finish(context.WithoutCancel(ctx), op); finish != nil {
		state = StateSaving
		err = errors.Join(err, finish)
	}
	switch {
	case err != nil:
		return c.failed(op, state, err)
	case store.err != nil:
		return c.failed(op, state, &bench.InfraError{Op: "store the state that was read", Err: store.err})
	}
	return c.failed(op, state, c.incomplete(stream))
}

// canMove returns nil if the driver can save and restore VFs, and the host has the memory for it.
// Without support the files exist, but a save fails at its end.
func (c Control) canMove(op string) error {
	size, err := c.MigrationSize()
	if err != nil {
		return err
	}
	return bench.CheckMovingMemory(fmt.Sprintf("%s VF%d", op, c.vf), int((size+1<<20-1)>>20))
}

// drain reads the rest of a save, so that it can be finished.
func (c Control) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	// Finish reports whether it helped.
	_, _ = c.pf.files.tree.Pull(ctx, c.file("migration_data"), io.Discard)
}

// finish ends a save or a restore. It reads the driver's file to get the result.
func (c Control) finish(ctx context.Context, op string) error {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	_, err := c.pf.files.tree.Await(ctx, c.file(op))
	return err
}

func (c Control) incomplete(stream *packets) error {
	if err := stream.complete(); err != nil {
		return &bench.HostError{Op: "read", Noun: c.file("migration_data"), Err: err}
	}
	return nil
}

// Restore gives the paused VF the state in r. [Control.Save] wrote it for this or another VF, here
// or on another host, of the same GPU model and revision, with the same quotas. The VF stays paused
// and can be resumed.
//
// Restore checks the header of each packet before it passes the packet to the driver. It checks the
// first header before it changes the VF. Drivers up to Linux 7.3 at least crash the kernel on some
// headers. After an error the [ControlError] has the VF's state, "" if the VF was not changed. If a
// restore fails after that, call [Control.DiscardRestore].
//
// The end of ctx does not stop a Read of r that hangs.
func (c Control) Restore(ctx context.Context, r io.Reader) error {
	const op = "restore"
	if err := c.canMove(op); err != nil {
		return err
	}
	stream := &restoreStream{r: r, gts: c.pf.GTs}
	if err := stream.begin(); err != nil {
		return c.failed(op, "", err)
	}
	if err := c.pf.files.tree.Write(ctx, c.file(op), "1"); err != nil {
		return c.failed(op, "", err)
	}
	if _, err := c.pf.files.tree.Push(ctx, c.file("migration_data"), stream); err != nil {
		return c.failed(op, StateRestoring, err)
	}
	return c.failed(op, StateRestoring, c.finish(ctx, op))
}

// CheckState reads the saved state in r to its end. It returns an error unless the state is
// complete and [Control.Restore] accepts each of its headers. It does not change the VF.
func (c Control) CheckState(r io.Reader) error {
	stream := &restoreStream{r: r, gts: c.pf.GTs}
	if err := stream.begin(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, stream)
	return err
}

// DiscardRestore resets the VF after a failed restore, and makes the driver drop a partial packet.
// A reset alone leaves that part, and the driver would take the first bytes of the next restore for
// its rest. Only the beginning of a save drops it (xe_sriov_packet_save_init).
func (c Control) DiscardRestore(ctx context.Context) error {
	if err := c.Reset(ctx); err != nil {
		return err
	}
	if err := c.Pause(ctx); err != nil {
		return err
	}
	const op = "save"
	if err := c.pf.files.tree.Write(ctx, c.file(op), "1"); err != nil {
		return c.failed(op, "", err)
	}
	return c.Reset(ctx)
}

// A firstError writes to w up to the first error of w, and drops the rest.
type firstError struct {
	w   io.Writer
	err error
}

func (f *firstError) Write(b []byte) (int, error) {
	if f.err == nil {
		_, f.err = f.w.Write(b)
	}
	return len(b), nil
}
