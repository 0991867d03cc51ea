package xe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"vmtb/bench"
)

// A VFState is what is known of a VF after an operation that did not succeed.
//
//	ready ──pause──▶ paused ──save──▶ saving ──all read──▶ paused
//	  ▲              │  ▲ └──restore──▶ restoring ──all written──▶ paused
//	  │           resume│pause
//	  │              ▼  │
//	  │           resumed            any ──stop──▶ stopped
//	  └──reset── any
//
// Kernel source: drivers/gpu/drm/xe/xe_gt_sriov_pf_control.c.
type VFState string

// The states of a VF.
const (
	StateUnknown   VFState = "unknown" // its GTs may be in different states
	StateRunning   VFState = "running" // ready or resumed
	StatePaused    VFState = "paused"
	StateStopped   VFState = "stopped"
	StateSaving    VFState = "saving"    // a save has begun: only a stop or a reset ends it
	StateRestoring VFState = "restoring" // a restore has begun and not all has come: only a stop or a reset ends it
)

// A ControlError is an operation on a VF that was refused or did not succeed.
type ControlError struct {
	Op    string // "pause", "resume", "stop", "reset", "save" or "restore"
	VF    int
	State VFState // of the VF now; "" where the error says nothing about it
	Err   error   // a [bench.HostError] with the file, the errno and what it means
}

func (e *ControlError) Error() string {
	s := fmt.Sprintf("%s VF%d: %v", e.Op, e.VF, e.Err)
	if e.State != "" {
		s += fmt.Sprintf("; VF%d is now: %s", e.VF, e.State)
	}
	return s
}

func (e *ControlError) Unwrap() error { return e.Err }

// refusals say what an errno means for an operation, and what it tells about the VF.
var refusals = []struct {
	op    string // "" is any
	errno syscall.Errno
	means string
	state VFState
}{
	{"pause", syscall.ESTALE, "it is paused already", StatePaused},
	{"pause", syscall.EPERM, "it is stopped: only a reset brings it back", StateStopped},
	{"resume", syscall.EPERM, "it is not paused", ""},
	{"resume", syscall.EBUSY, "it is being saved or restored", ""},
	{"stop", syscall.ESTALE, "it is stopped already", StateStopped},
	{"save", syscall.EPERM, "it is not paused", ""},
	{"save", syscall.EBUSY, "it is being restored", StateRestoring},
	{"save", syscall.EALREADY, "it is being saved already", StateSaving},
	{"save", syscall.EIO, "the driver cannot get at the VF's state: see dmesg", StateUnknown},
	{"restore", syscall.EPERM, "it is not paused", ""},
	{"restore", syscall.EBUSY, "it is being saved", StateSaving},
	{"restore", syscall.EALREADY, "it is being restored already", StateRestoring},
	{"restore", syscall.ENODEV, "the saved state is of another GPU model or revision", StateRestoring},
	{"restore", syscall.EINVAL, "the saved state is damaged, or of another version of the driver", StateRestoring},
	{"restore", syscall.ENODATA, "the saved state is damaged", StateRestoring},
	{"restore", syscall.EIO, "it cannot be restored: has the VF the same GGTT and VRAM quotas as the one that was saved? see dmesg", StateUnknown},
	{"restore", syscall.ETIMEDOUT, "the driver waits for more of the saved state: see dmesg", StateUnknown},
	{"", syscall.EALREADY, "the same operation is in progress", StateUnknown},
	{"", syscall.ECANCELED, "another operation came in between, or the driver has declared the GPU wedged: see dmesg", StateUnknown},
	{"", syscall.ETIMEDOUT, "the GPU's firmware did not answer in time: see dmesg", StateUnknown},
	{"", syscall.EIO, "the GPU's firmware refused: is the VF enabled? see dmesg", StateUnknown},
	{"", syscall.EUCLEAN, "a GT refused, and others may have followed; the kernel does not say why: most often because the VF is in " +
		"that state already, or in one that does not allow it; see dmesg", StateUnknown},
}

// controlError explains a refusal of op; nil for nil. state, if set, is known better than from the errno.
func controlError(op string, vf int, state VFState, err error) error {
	if err == nil {
		return nil
	}
	return &ControlError{Op: op, VF: vf, State: cmp.Or(state, explain(op, err)), Err: err}
}

// explain puts what an errno means into the error that has it. It returns the state that this tells of.
func explain(op string, err error) VFState {
	for _, r := range refusals {
		if (r.op == op || r.op == "") && errors.Is(err, r.errno) {
			if he := (*bench.HostError)(nil); errors.As(err, &he) {
				he.Advice = r.means
			}
			return r.state
		}
	}
	return ""
}

// PauseVF pauses VF vf: its guest's work on the GPU stops, and can be resumed. Errors of this and the following are
// [ControlError]; what the kernel has no way to do matches [bench.ErrNotAvailable]. Nothing is recorded: disabling VFs
// resets them.
func (p *PF) PauseVF(ctx context.Context, vf int) error { return p.control(ctx, vf, "pause") }

// ResumeVF resumes a paused VF.
func (p *PF) ResumeVF(ctx context.Context, vf int) error { return p.control(ctx, vf, "resume") }

// StopVF stops a VF, in whatever state it is. Only a reset brings it back.
func (p *PF) StopVF(ctx context.Context, vf int) error { return p.control(ctx, vf, "stop") }

// ResetVF does a Function Level Reset of a VF, in whatever state it is: it is ready then, and its memory is cleared.
func (p *PF) ResetVF(ctx context.Context, vf int) error { return p.control(ctx, vf, "reset") }

func (p *PF) control(ctx context.Context, vf int, op string) error {
	if err := p.CheckVF(vf); err != nil {
		return err
	}
	files := []string{p.vfFile(vf, op)}
	if op == "stop" {
		files = append(files, p.Dir()+"/sriov_admin/"+function(vf)+"/stop")
	}
	for _, file := range files {
		if p.tree.Exists(file) {
			return controlError(op, vf, "", p.tree.Write(ctx, file, "1"))
		}
	}
	if op == "reset" {
		return p.resetFunction(ctx, vf)
	}
	return p.controlGTs(ctx, vf, op)
}

// CheckVF refuses numbers that no VF can have.
func (p *PF) CheckVF(vf int) error {
	total, err := p.TotalVFs()
	if err != nil {
		return err
	}
	if vf < 1 || vf > total {
		return &bench.UsageError{Err: fmt.Errorf("VF %d: %s has VFs 1 to %d", vf, p.name(), total)}
	}
	return nil
}

// vfFile is a file that is for a VF as a whole (Linux 6.19 and later).
func (d debugfs) vfFile(vf int, name string) string {
	return d.root + "/sriov/" + function(vf) + "/" + name
}

// controlGTs controls a VF one GT after the other, on kernels that have no other way. Like newer kernels it goes on after
// an error, so that no GT is left behind without need.
func (p *PF) controlGTs(ctx context.Context, vf int, op string) error {
	var errs []error
	done := 0
	for _, gt := range p.GTs {
		file := p.gtFile(vf, gt, "control")
		if _, err := p.tree.FS.Stat(file); err != nil {
			return &ControlError{Op: op, VF: vf, Err: available(file, err)}
		}
		if err := p.tree.Write(ctx, file, op); err != nil {
			explain(op, err)
			errs = append(errs, err)
		} else {
			done++
		}
	}
	switch {
	case len(errs) == 0:
		return nil
	case done > 0:
		return controlError(op, vf, StateUnknown, errors.Join(errs...))
	}
	return controlError(op, vf, "", errors.Join(errs...))
}

// resetFunction resets a VF through PCI, which the PF's driver notices.
func (p *PF) resetFunction(ctx context.Context, vf int) error {
	device, err := p.VF(vf)
	if err != nil {
		return &bench.UsageError{Err: fmt.Errorf("reset VF%d: it is not enabled", vf)}
	}
	return controlError("reset", vf, "", device.Reset(ctx))
}

// MigrationMiB is [PF.MigrationSize] in MiB, rounded up; 0 where VFs cannot be saved.
func (p *PF) MigrationMiB(vf int) (int, error) {
	size, err := p.MigrationSize(vf)
	if errors.Is(err, bench.ErrNotAvailable) {
		return 0, nil
	}
	return int((size + 1<<20 - 1) >> 20), err
}

// MigrationSize estimates the bytes that [PF.SaveVF] will write for a VF. [bench.ErrNotAvailable] if the kernel, the GPU
// or its firmware cannot save VFs.
func (p *PF) MigrationSize(vf int) (int64, error) {
	if err := p.CheckVF(vf); err != nil {
		return 0, err
	}
	file := p.vfFile(vf, "migration_size")
	text, err := p.tree.Text(file)
	if errors.Is(err, syscall.ENOPKG) {
		return 0, &bench.HostError{
			Op: "use", Noun: file, Err: bench.ErrNotAvailable, Advice: "this GPU, or its firmware, cannot save and restore VFs",
		}
	}
	if err != nil {
		return 0, available(file, err)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, &bench.HostError{Op: "read", Noun: file, Err: fmt.Errorf("%q is not a size", text)}
	}
	return n, nil
}
