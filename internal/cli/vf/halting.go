package vf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/bench/xe"
	"vmtb/internal/pick"
)

// A controlledVF is a VF that a command pauses, resumes, stops, saves or restores.
type controlledVF struct {
	xe.Control
	name string // like "VF1"
	halt xe.Halt
}

// control returns the control of a VF, which must be enabled. how names the command's operation, as
// in [xe.Halt]. Unless shared is set, control refuses a VF that a process uses: its work would be
// lost.
func (s *session) control(c bench.HostConfig, vf pick.VFName, how string, shared bool) (controlledVF, error) {
	pf, err := s.findPF(c)
	if err != nil {
		return controlledVF{}, err
	}
	n, device, err := vf.Enabled(pf)
	if err == nil && !shared {
		err = pick.CheckUnused(s.System, device)
	}
	if err != nil {
		return controlledVF{}, err
	}
	controlled := controlledVF{Control: pf.Control(n), name: fmt.Sprintf("VF%d", n)}
	controlled.halt, err = controlled.Halt(how, !shared)
	return controlled, err
}

// halting calls do, which halts vf. Undoing the session makes vf run again, unless the kernel
// refused do and vf is unchanged.
func (s *session) halting(ctx context.Context, vf controlledVF, do func() error) error {
	if s.hasHalted(vf.halt) {
		return explained(vf, do())
	}
	mark := s.log.Mark()
	err := s.log.Do(ctx, vf.halt, do)
	if refused, ok := errors.AsType[*xe.ControlError](err); ok && untouched(refused) {
		err = errors.Join(err, s.dropHalts(vf.halt, mark))
	}
	return explained(vf, err)
}

// untouched reports whether an operation was refused before it changed the state of the VF.
func untouched(e *xe.ControlError) bool {
	switch e.State {
	case xe.StatePaused, xe.StateStopped:
		return true
	case "":
		return e.Op == "save" || e.Op == "restore" || errors.Is(e, bench.ErrNotAvailable)
	}
	return false
}

// explained adds to a refusal the command that helps.
func explained(vf controlledVF, err error) error {
	refused, ok := errors.AsType[*xe.ControlError](err)
	if !ok || !errors.Is(err, syscall.EPERM) {
		return err
	}
	if he, ok := errors.AsType[*bench.HostError](err); ok {
		switch refused.Op {
		case "save", "restore":
			he.Advice += ": vmtb vf pause " + vf.name
		case "pause":
			he.Advice += ": vmtb vf reset " + vf.name
		}
	}
	return err
}

// isHaltOf returns a function that reports whether an entry is a halt of the same VF, in this boot.
func isHaltOf(h xe.Halt) func(undo.Entry) bool {
	return func(e undo.Entry) bool {
		halt, ok := e.Record.(xe.Halt)
		return ok && !e.Gone() && halt.VF == h.VF
	}
}

// hasHalted reports whether the journal already has a record that serves for h.
func (s *session) hasHalted(h xe.Halt) bool {
	same := isHaltOf(h)
	return slices.ContainsFunc(s.log.Pending(), func(e undo.Entry) bool {
		return same(e) && (e.Record.(xe.Halt).MayReset || !h.MayReset)
	})
}

// dropHalts ends the records of a VF's halts that are newer than mark: the VF is in its state
// before them.
func (s *session) dropHalts(h xe.Halt, mark undo.Mark) error {
	same := isHaltOf(h)
	for _, e := range s.log.Pending() {
		if same(e) && e.ID > int(mark) {
			if err := s.log.Drop(e.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// completeStateFile offers files for the second argument of "vmtb vf save" and "vmtb vf restore".
func completeStateFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}
