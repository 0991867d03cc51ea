package xe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"vmtb/bench"
	"vmtb/bench/pci"
)

// A VFState is the state of a VF after a failed operation, as far as the error reveals it.
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

// These are the states of a VF.
const (
	StateUnknown   VFState = "unknown" // its GTs may be in different states
	StateRunning   VFState = "running" // ready or resumed
	StatePaused    VFState = "paused"
	StateStopped   VFState = "stopped"
	StateSaving    VFState = "saving"    // a save has begun; only a stop or a reset ends it
	StateRestoring VFState = "restoring" // a restore is incomplete; only a stop or a reset ends it
)

// A ControlError is the error of an operation on a VF.
type ControlError struct {
	Op    string // "pause", "resume", "stop", "reset", "save" or "restore"
	VF    int
	State VFState // of the VF now; "" if the error does not reveal it
	Err   error   // a [bench.HostError] with the file, the errno and its meaning
}

func (e *ControlError) Error() string {
	s := fmt.Sprintf("%s VF%d: %v", e.Op, e.VF, e.Err)
	if e.State != "" {
		s += fmt.Sprintf("; VF%d is now: %s", e.VF, e.State)
	}
	return s
}

func (e *ControlError) Unwrap() error { return e.Err }

// refusals gives the meaning of an errno for an operation, and the VF's state after it.
var refusals = []struct {
	op    string // "" matches any
	errno syscall.Errno
	means string
	state VFState
}{
	{"pause", syscall.ESTALE, "the VF is paused already", StatePaused},
	{"pause", syscall.EPERM, "the VF is stopped: only a reset ends that", StateStopped},
	{"resume", syscall.EPERM, "the VF is not paused", ""},
	{"resume", syscall.EBUSY, "the VF is being saved or restored", ""},
	{"stop", syscall.ESTALE, "the VF is stopped already", StateStopped},
	{"save", syscall.EPERM, "the VF is not paused", ""},
	{"save", syscall.EBUSY, "the VF is being restored", StateRestoring},
	{"save", syscall.EALREADY, "the VF is being saved already", StateSaving},
	{"save", syscall.EIO, "the driver cannot read the VF's state: see dmesg", StateUnknown},
	{"restore", syscall.EPERM, "the VF is not paused", ""},
	{"restore", syscall.EBUSY, "the VF is being saved", StateSaving},
	{"restore", syscall.EALREADY, "the VF is being restored already", StateRestoring},
	{"restore", syscall.ENODEV, "the saved state is of another GPU model or revision", StateRestoring},
	{
		"restore", syscall.EINVAL, "the saved state is damaged, or was saved by another version of the driver",
		StateRestoring,
	},
	{"restore", syscall.ENODATA, "the saved state is damaged", StateRestoring},
	{
		"restore", syscall.EIO,
		"the state cannot be restored: this VF must have the same GGTT and VRAM quotas as the saved one; see dmesg",
		StateUnknown,
	},
	{"restore", syscall.ETIMEDOUT, "the driver waits for more of the saved state: see dmesg", StateUnknown},
	{"", syscall.EALREADY, "the same operation is in progress", StateUnknown},
	{
		"", syscall.ECANCELED,
		"another operation interfered, or the driver has declared the GPU wedged: see dmesg",
		StateUnknown,
	},
	{"", syscall.ETIMEDOUT, "the GPU's firmware did not answer in time: see dmesg", StateUnknown},
	{"", syscall.EIO, "the GPU's firmware refused: is the VF enabled? see dmesg", StateUnknown},
	{
		"", syscall.EUCLEAN,
		"a GT refused, and other GTs may have obeyed; the kernel does not say why. Most often " +
			"the VF is in that state already, or in a state that does not allow it; see dmesg", StateUnknown,
	},
}

// explain adds the meaning of an errno to its error, as advice. It returns the state of the VF, or
// "" if it is unknown.
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

// A Control operates on one VF from the PF's side. Errors of its methods are [ControlError]. If the
// kernel lacks an operation, the error matches [bench.ErrNotAvailable]. Its methods journal
// nothing, because disabling VFs resets them. For VFs that stay enabled, [Control.Halt] returns a
// record.
type Control struct {
	pf *PF
	vf int
}

// Control returns the control of VF vf.
func (p *PF) Control(vf int) Control { return Control{p, vf} }

// Pause pauses the VF. Its guest's work on the GPU stops until it is resumed.
func (c Control) Pause(ctx context.Context) error { return c.do(ctx, "pause") }

// Resume resumes a paused VF.
func (c Control) Resume(ctx context.Context) error { return c.do(ctx, "resume") }

// Stop stops the VF in any state. Only a reset makes it usable again.
func (c Control) Stop(ctx context.Context) error { return c.do(ctx, "stop") }

// Reset does a Function Level Reset of the VF in any state. The VF is ready then, and its memory is
// cleared.
func (c Control) Reset(ctx context.Context) error { return c.do(ctx, "reset") }

// file returns a file for the VF as a whole (Linux 6.19 and later).
func (c Control) file(name string) string { return c.pf.files.vfFile(c.vf, name) }

func (c Control) do(ctx context.Context, op string) error {
	if err := c.pf.CheckVF(c.vf); err != nil {
		return err
	}
	if file := c.whole(op); file != "" {
		return c.failed(op, "", c.pf.files.tree.Write(ctx, file, "1"))
	}
	if op == "reset" {
		return c.resetFunction(ctx)
	}
	return c.doOnGTs(ctx, op)
}

// whole returns the file that does op on the VF as a whole, or "" if this kernel has none.
func (c Control) whole(op string) string {
	files := []string{c.file(op)}
	if op == "stop" {
		files = append(files, c.pf.files.dir+"/sriov_admin/"+function(c.vf)+"/stop")
	}
	for _, file := range files {
		if c.pf.files.tree.Exists(file) {
			return file
		}
	}
	return ""
}

// failed explains a refusal of op; nil stays nil. If state is set, it takes precedence over the
// errno's.
func (c Control) failed(op string, state VFState, err error) error {
	if err == nil {
		return nil
	}
	return &ControlError{Op: op, VF: c.vf, State: cmp.Or(state, explain(op, err)), Err: err}
}

// CheckVF returns an error if the PF cannot have a VF with number vf.
func (p *PF) CheckVF(vf int) error { return checkVF(p.Device, p.name(), vf) }

func checkVF(pf *pci.Device, name string, vf int) error {
	total, err := pf.TotalVFs()
	if err != nil {
		return err
	}
	if vf < 1 || vf > total {
		return &bench.UsageError{Err: fmt.Errorf("VF %d: %s has VFs 1 to %d", vf, name, total)}
	}
	return nil
}

// doOnGTs does op on one GT after the other, for kernels without another way. Like newer kernels it
// goes on after an error, so that as many GTs as possible follow.
func (c Control) doOnGTs(ctx context.Context, op string) error {
	var errs []error
	done := 0
	for _, gt := range c.pf.GTs {
		file := c.pf.files.gtFile(c.vf, gt, "control")
		if _, err := c.pf.files.tree.FS.Stat(file); err != nil {
			return &ControlError{Op: op, VF: c.vf, Err: available(file, err)}
		}
		if err := c.pf.files.tree.Write(ctx, file, op); err != nil {
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
		return c.failed(op, StateUnknown, errors.Join(errs...))
	}
	return c.failed(op, "", errors.Join(errs...))
}

// resetFunction resets the VF through PCI, which the PF's driver notices.
func (c Control) resetFunction(ctx context.Context) error {
	device, err := c.pf.VF(c.vf)
	if err != nil {
		return &bench.UsageError{Err: fmt.Errorf("reset VF%d: the VF is not enabled", c.vf)}
	}
	return c.failed("reset", "", device.Reset(ctx))
}

// MigrationMiB returns [Control.MigrationSize] in MiB, rounded up. It is 0 where VFs cannot be
// saved.
func (c Control) MigrationMiB() (int, error) {
	size, err := c.MigrationSize()
	if errors.Is(err, bench.ErrNotAvailable) {
		return 0, nil
	}
	return int((size + 1<<20 - 1) >> 20), err
}

// MigrationSize estimates how many bytes [Control.Save] will write. The error matches
// [bench.ErrNotAvailable] if the kernel, the GPU or its firmware cannot save VFs.
func (c Control) MigrationSize() (int64, error) {
	if err := c.pf.CheckVF(c.vf); err != nil {
		return 0, err
	}
	file := c.file("migration_size")
	text, err := c.pf.files.tree.Text(file)
	if errors.Is(err, syscall.ENOPKG) {
		return 0, &bench.HostError{
			Op: "use", Noun: file, Err: bench.ErrNotAvailable,
			Advice: "this GPU, or its firmware, cannot save and restore VFs",
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
