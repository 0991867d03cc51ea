package vmtb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/pci"
	"vmtb/bench/undo"
	"vmtb/bench/xe"
	"vmtb/flow"
)

// A handwork is a command that changes the host for longer than it runs. All of them write one journal, which is put back as a
// whole: what one of them has changed may be what a later one stands on, the driver of all GPUs for instance.
type handwork struct {
	*app
	host *host.Host
	log  *runUndo
}

// manually does something to this host that stays. The host is this process's meanwhile. If do fails, what it has changed is
// undone.
func (a *app) manually(ctx context.Context, do func(context.Context, *handwork) error) error {
	unlock, err := host.Lock(a.state.lockFile)
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.onlyHandwork(); err != nil {
		return err
	}
	w, err := a.openHandwork()
	if err != nil {
		return &bench.InfraError{Op: "open the journal", Err: err}
	}
	mark := w.log.Mark()
	if err = do(ctx, w); err != nil {
		err = w.takeBackSince(ctx, mark, err)
	}
	if closeErr := w.log.Close(); closeErr != nil {
		err = errors.Join(err, &bench.InfraError{Op: "close the journal", Err: closeErr})
	}
	return err
}

// onlyHandwork refuses to change a host on which a dead run has left something.
func (a *app) onlyHandwork() error {
	dead, err := a.deadRuns()
	dead = slices.DeleteFunc(dead, a.byHand)
	if err != nil || len(dead) == 0 {
		return err
	}
	return inTheWay(dead, `"vmtb recover" puts it back`)
}

func (a *app) openHandwork() (*handwork, error) {
	if err := os.MkdirAll(a.state.manual, 0o755); err != nil {
		return nil, err
	}
	log, err := a.openUndo(filepath.Join(a.state.manual, flow.UndoFile))
	return &handwork{a, host.New(a.system), log}, err
}

// undoTime bounds the undoing of a command that has failed or was interrupted.
const undoTime = 2 * time.Minute

// takeBackSince undoes what a command that failed with err has changed, and is what to say then.
func (w *handwork) takeBackSince(ctx context.Context, m undo.Mark, err error) error {
	if w.log.Mark() == m {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	told := *w.app
	told.out = w.err
	told.takeBack(ctx, w.log.Log, m)
	left := slices.ContainsFunc(w.log.Pending(), func(e undo.Entry) bool { return e.ID > int(m) })
	if !left {
		return err
	}
	fmt.Fprintf(w.err, "vmtb: %s\nvmtb: the host is not as it was before (\"vmtb vf disable\" tries again)\n", printable(err.Error()))
	return exitCode(flow.ExitNotRestored)
}

// step does what may take a while, and shows that.
func (w *handwork) step(name string, do func() error) error { return w.patiently("vf", name, do) }

// findPF finds the PF that is configured.
func (w *handwork) findPF(c bench.HostConfig) (*xe.PF, error) {
	return xe.FindPF(w.host.Tree(w.log), selector(c))
}

// enabled reports whether a PF's VFs were enabled by a command whose journal is this one, in this boot.
func (w *handwork) enabled(pf *xe.PF) bool {
	return slices.ContainsFunc(w.log.Pending(), func(e undo.Entry) bool {
		of, ok := enables(e)
		return ok && of == pf.Address
	})
}

// enables is the PF whose VFs a change has enabled, if that is what it is.
func enables(e undo.Entry) (pci.Address, bool) {
	write, ok := e.Record.(undo.Write)
	if !ok || e.Gone() || path.Base(write.Path) != "sriov_numvfs" {
		return "", false
	}
	return pci.Address(path.Base(path.Dir(write.Path))), true
}

// checkUnused refuses to undo what somebody uses: the kernel would not return before it is let go.
func (a *app) checkUnused(log *undo.Log) error {
	tree := host.New(a.system).Tree(log)
	for _, e := range log.Pending() {
		if pf, ok := enables(e); ok {
			vfs, _ := pci.At(tree, pf).VFs() // gone with their PF: nobody has them
			if err := notUsed(a.system, vfs...); err != nil {
				return err
			}
		}
		if b, ok := e.Record.(undo.Binding); ok && !e.Gone() {
			if err := notUsed(a.system, pci.At(tree, pci.Address(path.Base(b.Device)))); err != nil {
				return err
			}
		}
	}
	return nil
}
