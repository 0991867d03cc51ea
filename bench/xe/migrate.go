package xe

import (
	"context"
	"errors"
	"io"
	"time"

	"vmtb/bench"
)

const (
	drainTime  = 10 * time.Second // how long a save that was given up may still take to come to its end
	finishTime = 30 * time.Second // the driver itself waits up to 20 s for a restore to end
)

// SaveVF writes the state of a paused VF, memory included, to w. The VF stays paused and can be resumed, stopped or saved
// again. After an error its state is in the [ControlError]: paused too, if the save could be brought to its end, else
// [StateSaving], from which only a stop or a reset leads out.
//
// The driver writes everything whether it has changed or not: see [PF.MigrationSize].
func (p *PF) SaveVF(ctx context.Context, vf int, w io.Writer) error {
	if _, err := p.MigrationSize(vf); err != nil { // without support the files are there, and a save fails at its end
		return err
	}
	const op = "save"
	if err := p.tree.Write(ctx, p.vfFile(vf, op), "1"); err != nil {
		return controlError(op, vf, "", err)
	}
	stream, store := &packets{}, &keeper{w: w}
	_, err := p.tree.Pull(ctx, p.vfFile(vf, "migration_data"), io.MultiWriter(stream, store))
	if err != nil {
		p.drain(ctx, vf)
	}
	state := StatePaused
	if finish := p.finish(context.WithoutCancel(ctx), vf, op); finish != nil {
		state = StateSaving
		err = errors.Join(err, finish)
	}
	switch {
	case err != nil:
		return controlError(op, vf, state, err)
	case store.err != nil:
		return controlError(op, vf, state, &bench.InfraError{Op: "store the state that was read", Err: store.err})
	}
	return controlError(op, vf, state, p.incomplete(vf, stream))
}

// drain reads what a save still has to give, so that it can be finished.
func (p *PF) drain(ctx context.Context, vf int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	_, _ = p.tree.Pull(ctx, p.vfFile(vf, "migration_data"), io.Discard) // finishing says whether it helped
}

// finish ends a save or a restore: reading its file is how the driver is asked for the result.
func (p *PF) finish(ctx context.Context, vf int, op string) error {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	_, err := p.tree.Await(ctx, p.vfFile(vf, op))
	return err
}

func (p *PF) incomplete(vf int, stream *packets) error {
	if err := stream.complete(); err != nil {
		return &bench.HostError{Op: "read", Noun: p.vfFile(vf, "migration_data"), Err: err}
	}
	return nil
}

// RestoreVF gives a paused VF the state in r, which [PF.SaveVF] wrote for this or another VF, here or on another host: of
// the same GPU model and revision, with the same quotas. The VF stays paused, to be resumed. Each packet's header is
// checked before the driver sees it, the first one before anything is done to the VF: drivers up to Linux 7.3 at least
// crash the kernel on some headers. After an error the state is in the [ControlError], "" if the VF was not touched; a VF
// that was not restored to the end must be given up with [PF.DiscardRestore].
//
// The end of ctx does not stop a Read of r that hangs.
func (p *PF) RestoreVF(ctx context.Context, vf int, r io.Reader) error {
	if _, err := p.MigrationSize(vf); err != nil {
		return err
	}
	const op = "restore"
	stream := &restoreStream{r: r, gts: p.GTs}
	if err := stream.begin(); err != nil {
		return controlError(op, vf, "", err)
	}
	if err := p.tree.Write(ctx, p.vfFile(vf, op), "1"); err != nil {
		return controlError(op, vf, "", err)
	}
	if _, err := p.tree.Push(ctx, p.vfFile(vf, "migration_data"), stream); err != nil {
		return controlError(op, vf, StateRestoring, err)
	}
	return controlError(op, vf, StateRestoring, p.finish(ctx, vf, op))
}

// DiscardRestore resets a VF of which a restore has failed, and makes the driver forget the part of a packet that it may
// still hold: a reset alone leaves that, and the first bytes of the next restore would be taken for the rest of it. Only the
// beginning of a save drops it (xe_sriov_packet_save_init).
func (p *PF) DiscardRestore(ctx context.Context, vf int) error {
	if err := p.ResetVF(ctx, vf); err != nil {
		return err
	}
	if err := p.PauseVF(ctx, vf); err != nil {
		return err
	}
	const op = "save"
	if err := p.tree.Write(ctx, p.vfFile(vf, op), "1"); err != nil {
		return controlError(op, vf, "", err)
	}
	return p.ResetVF(ctx, vf)
}

// A keeper writes to w up to the first error, and takes the rest all the same.
type keeper struct {
	w   io.Writer
	err error
}

func (k *keeper) Write(b []byte) (int, error) {
	if k.err == nil {
		_, k.err = k.w.Write(b)
	}
	return len(b), nil
}
