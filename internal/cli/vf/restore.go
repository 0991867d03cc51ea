package vf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/bench/xe"
	"vmtb/internal/cli/env"
	"vmtb/internal/pick"
)

// restoreOptions are the flags of "vmtb vf restore".
type restoreOptions struct {
	config *bench.Config
	vf     pick.VFName
	file   string
}

func restoreCommand(e *env.Env) *cobra.Command {
	var flags env.ConfigFlags
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore VF FILE",
		Short: "Give a paused VF the state in a file",
		Long: `Gives a paused VF ("1", "VF1" or its PCI address) the state that "vmtb vf save" has written into FILE, of
this or another VF, here or on another host. The GPU model and revision and the quotas must be the same. The
present state of the VF is lost. The VF stays paused until "vmtb vf resume".

FILE is read to its end before the VF is changed, and refused if it is incomplete. If the driver refuses it later, the
VF is reset. Refused while a virtual machine uses the VF.

"vmtb vf disable" (or "vmtb recover") resumes the VF. Needs Linux 6.19 and debugfs, and a GPU whose firmware can
restore VFs.`,
		Example: `  vmtb vf pause 2
  vmtb vf restore 2 vf1.state
  vmtb vf resume 2`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: completeStateFile,
	}
	cmd.RunE = changeVFs(&flags, func(c *bench.Config, args []string) (err error) {
		o.config, o.file = c, args[1]
		o.vf, err = pick.ParseOneVF(args[0])
		return err
	}, func(ctx context.Context) error { return o.run(ctx, e) })
	flags.AddPF(cmd)
	return cmd
}

func (o *restoreOptions) run(ctx context.Context, e *env.Env) error {
	f, size, err := openState(o.file)
	if err != nil {
		return err
	}
	defer f.Close()
	return inSession(ctx, e, func(ctx context.Context, s *session) error {
		vf, err := s.control(o.config.Host, o.vf, "being restored", false)
		if err != nil {
			return err
		}
		if _, err := vf.MigrationSize(); err != nil {
			return err
		}
		if err := o.check(s, vf, f); err != nil {
			return err
		}
		mark := s.log.Mark()
		err = s.Progress("vf").Step(fmt.Sprintf("restore %s from %s", vf.name, o.file), func(log io.Writer) error {
			return s.halting(ctx, vf, func() error {
				return s.restoreOrReset(ctx, vf, &counted{r: f, log: log, total: size})
			})
		})
		if err != nil {
			return err
		}
		return s.keepPaused(vf, mark)
	})
}

// openState opens a file with a VF's state. It does not wait for the writer of a FIFO.
func openState(file string) (f *os.File, size int64, err error) {
	f, err = os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, &bench.UsageError{Err: err, Advice: "give a file of vmtb vf save"}
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &bench.UsageError{Err: fmt.Errorf("%s is not a regular file", file), Advice: "vmtb reads FILE twice"}
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// check returns an error unless the file has a complete state. It does not change the VF.
func (o *restoreOptions) check(s *session, vf controlledVF, f *os.File) error {
	err := s.step("check "+o.file, func() error { return vf.CheckState(f) })
	if err != nil {
		return &bench.UsageError{
			Err:    fmt.Errorf("restore %s from %s: %w", vf.name, o.file, err),
			Advice: vf.name + " is unchanged; give a complete file of vmtb vf save",
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return &bench.InfraError{Op: "read " + o.file, Err: err}
	}
	return nil
}

// discardTime limits how long resetting a VF may take after a failed restore.
const discardTime = 30 * time.Second

// restoreOrReset restores a VF. If that fails after the VF was changed, it resets the VF.
func (s *session) restoreOrReset(ctx context.Context, vf controlledVF, r io.Reader) error {
	err := vf.Restore(ctx, r)
	failed, ok := errors.AsType[*xe.ControlError](err)
	if !ok || untouched(failed) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTime)
	defer cancel()
	if resetErr := vf.DiscardRestore(ctx); resetErr != nil {
		return errors.Join(err, fmt.Errorf("reset after the failed restore: %w", resetErr))
	}
	// After a reset the VF runs: there is nothing to undo.
	err = fmt.Errorf("%w; %s was reset: it runs, and its state is lost", err, vf.name)
	return errors.Join(err, s.dropHalts(vf.halt, 0))
}

// keepPaused replaces the record of a completed restore by the record of a pause. Undo then resumes
// the VF and does not reset it.
func (s *session) keepPaused(vf controlledVF, mark undo.Mark) error {
	if s.log.Mark() == mark {
		return nil // an older record serves
	}
	paused := vf.halt
	paused.How, paused.MayReset = "paused", false
	restored := s.log.Mark()
	if err := s.log.Add(paused); err != nil {
		return err
	}
	same := isHaltOf(vf.halt)
	for _, e := range s.log.Pending() {
		if same(e) && e.ID > int(mark) && e.ID <= int(restored) {
			if err := s.log.Drop(e.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
