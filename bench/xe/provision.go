package xe

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/undo"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/prose"
)

var errUnclean error = syscall.EUCLEAN

// These are the driver's rounding and limits. Kernel source: xe_gt_sriov_pf_config.c.
const (
	pageSize   = 4 << 10     // bytes; GGTT quotas are rounded up to it
	largePage  = 64 << 10    // bytes; the same on ATS-M (pf_get_ggtt_alignment)
	vramAlign  = 2 << 20     // bytes; VRAM quotas are rounded up to it
	maxQuantum = 100_000     // ms; longer execution quanta are reduced to it
	maxTimeout = 100_000_000 // us; longer preemption timeouts are reduced to it
)

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

// Provision brings the PF from any state to the plan, but does not enable the VFs. It first removes
// an earlier run's VFs, quotas and scheduling. It reads every value back. Undo ends in automatic
// mode with the spares, scheduling and policies from before.
//
// This order works from every starting state: no VFs, automatic mode, spares, quotas, scheduling.
// The kernel refuses a change of the mode while VFs are enabled. A VF's quota cannot grow while
// another VF still holds an old one.
func (p *PF) Provision(ctx context.Context, plan vgpu.Plan) error {
	total, err := p.checkCount(plan.VFs)
	if err != nil {
		return err
	}
	p.Scheduler.plan = nil
	if err := p.Reset(ctx); err != nil {
		return err
	}
	if plan.Quota != nil {
		if err := p.provisionQuotas(ctx, plan); err != nil {
			return err
		}
	}
	return p.Scheduler.provision(ctx, plan.Scheduling, plan.VFs, total)
}

// CheckCount returns an error if the PF cannot have n VFs.
func (p *PF) CheckCount(n int) error {
	_, err := p.checkCount(n)
	return err
}

// checkCount returns an error if the PF cannot have n VFs. total is how many it can have.
func (p *PF) checkCount(n int) (total int, err error) {
	total, err = p.TotalVFs()
	if err == nil && (n < 1 || n > total) {
		err = &bench.UsageError{Err: fmt.Errorf("%s: %s allows 1 to %d", prose.Count(n, "VF"), p.name(), total)}
	}
	return total, err
}

// Reset disables all VFs, removes their quotas, and returns to automatic provisioning. Quotas that
// were set by hand are lost. Undo restores the time slices of a host that had no VFs.
func (p *PF) Reset(ctx context.Context) error {
	n, err := p.NumVFs()
	if err != nil {
		return err
	}
	if err := p.DisableVFs(ctx); err != nil {
		return err
	}
	if !p.files.tree.Exists(p.files.restoreFile()) {
		return p.Quotas.clear(ctx)
	}
	if n == 0 {
		if err := p.Scheduler.rememberVFs(ctx); err != nil {
			return err
		}
	}
	if err := p.files.tree.Change(ctx, p.restore(), "1"); err != nil {
		return err
	}
	return p.Quotas.clearVRAM(ctx)
}

// restore returns the record whose undo returns the PF to automatic mode.
func (p *PF) restore() undo.Write {
	return undo.Write{Path: p.files.restoreFile(), Blind: true, Restore: "1"}
}

// RememberMode journals that undo must return the PF to automatic mode. It is for [Quotas.Set]
// without an earlier [PF.Provision]. It fails if there are VFs, because their quotas could not be
// restored. Kernels without modes need no record.
func (p *PF) RememberMode(ctx context.Context) error {
	n, err := p.NumVFs()
	if err != nil {
		return err
	}
	if n > 0 {
		return &bench.HostError{
			Op: "provision by hand", Noun: p.name(),
			Err:    fmt.Errorf("another program has enabled %s: %w", prose.Count(n, "VF"), syscall.EBUSY),
			Advice: "disable them first: their quotas could not be restored",
		}
	}
	if !p.files.tree.Exists(p.files.restoreFile()) {
		return nil
	}
	if err := p.Scheduler.rememberVFs(ctx); err != nil {
		return err
	}
	return p.files.record(ctx, p.restore())
}

func (p *PF) provisionQuotas(ctx context.Context, plan vgpu.Plan) error {
	if err := p.checkGGTT(plan); err != nil {
		return err
	}
	if err := p.Quotas.setSpare(ctx, plan.Spare); err != nil {
		return err
	}
	for vf := 1; vf <= plan.VFs; vf++ {
		if err := p.Quotas.Set(ctx, vf, *plan.Quota); err != nil {
			return err
		}
	}
	return p.secure(ctx, plan.Security, plan.VFs)
}

// checkGGTT returns an error if a plan leaves the PF less GGTT than the kernel's minimum. The
// kernel itself would accept it.
func (p *PF) checkGGTT(plan vgpu.Plan) error {
	if err := plan.Quota.Check(); err != nil {
		return err
	}
	need := roundUp(plan.Quota.GGTT, p.Quotas.ggttAlign()) * uint64(plan.VFs)
	for _, tile := range p.Tiles() {
		a, err := p.AvailableGGTT(tile)
		if err != nil {
			return err
		}
		if need > a.Avail {
			return &bench.HostError{
				Op: "provision", Noun: p.name(),
				Err: fmt.Errorf("%s would need %d bytes of GGTT, but only %d are available: %w",
					prose.Count(plan.VFs, "VF"), need, a.Avail, syscall.ENOSPC),
				Advice: "enable fewer VFs, or use a smaller profile",
			}
		}
	}
	return nil
}

// EnableVFs enables n VFs, and keeps the host's drivers off them. It gives them the time slices of
// the last [PF.Provision], and checks that each holds resources. It journals the PF's own
// scheduling first: enabling and disabling VFs may change it.
func (p *PF) EnableVFs(ctx context.Context, n int) ([]*pci.Device, error) {
	if err := p.SetAutoprobe(ctx, false); err != nil {
		return nil, err
	}
	if err := p.Scheduler.rememberPF(ctx); err != nil {
		return nil, err
	}
	if err := p.Device.EnableVFs(ctx, n); err != nil {
		return nil, p.notEnabled(err)
	}
	if err := p.Scheduler.reapply(ctx, n); err != nil {
		return nil, err
	}
	for vf := 1; vf <= n; vf++ {
		q, err := p.Quotas.Of(vf)
		if errors.Is(err, bench.ErrNotAvailable) {
			break // without debugfs there are no quotas to read
		}
		if err == nil && (q.Contexts == 0 || q.GGTT == 0 || p.VRAM && q.VRAM == 0) {
			err = &bench.HostError{
				Op: "enable", Noun: fmt.Sprintf("VF%d of %s", vf, p.name()),
				Err:    fmt.Errorf("its resources are not enough: %+v", q),
				Advice: p.missingQuota(q),
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return p.VFs()
}
