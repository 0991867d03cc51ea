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

// What the driver rounds and clamps to. Kernel source: xe_gt_sriov_pf_config.c.
const (
	pageSize   = 4 << 10     // bytes; GGTT quotas are rounded up to it
	largePage  = 64 << 10    // bytes; the same on ATS-M (pf_get_ggtt_alignment)
	vramAlign  = 2 << 20     // bytes; VRAM quotas are rounded up to it
	maxQuantum = 100_000     // ms; longer execution quanta are cut to it
	maxTimeout = 100_000_000 // us; longer preemption timeouts are cut to it
)

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

// Provision brings the PF from whatever state it is in to the plan, short of enabling the VFs. It
// first removes what an earlier run left: VFs, quotas, scheduling. It reads every value back.
// Undoing it ends in automatic mode with the spares, scheduling and policies that were there
// before.
//
// The order works from every starting point: no VFs, automatic mode, spares, quotas, scheduling.
// The kernel refuses a change of the mode while there are VFs, and a VF's quota cannot grow while
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

// Reset disables all VFs, takes back what they hold, and returns to automatic provisioning. Quotas
// that were set by hand are lost. Undoing it brings back the time slices of a host that had no VFs.
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

// restore returns the record whose undoing returns the PF to automatic mode.
func (p *PF) restore() undo.Write {
	return undo.Write{Path: p.files.restoreFile(), Blind: true, Restore: "1"}
}

// RememberMode journals that the PF is to return to automatic mode, for [Quotas.Set] without a
// [PF.Provision] before it. It returns an error if there are VFs: their quotas could not be put
// back. Kernels without modes need no record.
func (p *PF) RememberMode(ctx context.Context) error {
	n, err := p.NumVFs()
	if err != nil {
		return err
	}
	if n > 0 {
		return &bench.HostError{
			Op: "provision by hand", Noun: p.name(),
			Err:    fmt.Errorf("somebody else has enabled %s: %w", prose.Count(n, "VF"), syscall.EBUSY),
			Advice: "what they hold could not be put back: disable them first",
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
				Err: fmt.Errorf("%s would need %d bytes of GGTT, and %d can be given away: %w",
					prose.Count(plan.VFs, "VF"), need, a.Avail, syscall.ENOSPC),
				Advice: "ask for fewer VFs or for a smaller profile",
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
			break // no debugfs to look into
		}
		if err == nil && (q.Contexts == 0 || q.GGTT == 0 || p.VRAM && q.VRAM == 0) {
			err = &bench.HostError{
				Op: "enable", Noun: fmt.Sprintf("VF%d of %s", vf, p.name()),
				Err:    fmt.Errorf("it holds too little: %+v", q),
				Advice: p.missingQuota(q),
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return p.VFs()
}
