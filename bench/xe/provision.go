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

// Provision brings the PF from whatever state it is in to the plan, short of enabling the VFs. Leftovers of an earlier
// run (VFs, quotas, scheduling) are removed first. Every value is read back. Undoing it ends in automatic mode with the
// spares, scheduling and policies that were there.
//
// The order is the one that works from every starting point: no VFs, automatic mode, spares, quotas, scheduling. A mode
// change with VFs is refused by the kernel, and a VF's quota cannot grow while another VF still holds an old one.
func (p *PF) Provision(ctx context.Context, plan vgpu.Plan) error {
	total, err := p.checkCount(plan.VFs)
	if err != nil {
		return err
	}
	p.scheduling = nil
	if err := p.Reset(ctx); err != nil {
		return err
	}
	if plan.Quota != nil {
		if err := p.provisionQuotas(ctx, plan); err != nil {
			return err
		}
	}
	p.scheduling = &plan.Scheduling
	return p.schedule(ctx, plan.Scheduling, plan.VFs, total)
}

// CheckCount refuses numbers of VFs that the PF cannot have.
func (p *PF) CheckCount(n int) error {
	_, err := p.checkCount(n)
	return err
}

// checkCount refuses numbers of VFs that the PF cannot have; total is how many it can.
func (p *PF) checkCount(n int) (total int, err error) {
	total, err = p.TotalVFs()
	if err == nil && (n < 1 || n > total) {
		err = &bench.UsageError{Err: fmt.Errorf("%s: %s allows 1 to %d", prose.Count(n, "VF"), p.name(), total)}
	}
	return total, err
}

// Reset disables all VFs, takes back what they hold, and returns to automatic provisioning. Quotas that were set by hand
// are lost; undoing it brings back the time slices of a host that had no VFs.
func (p *PF) Reset(ctx context.Context) error {
	n, err := p.NumVFs()
	if err != nil {
		return err
	}
	if err := p.DisableVFs(ctx); err != nil {
		return err
	}
	if !p.tree.Exists(p.restoreFile()) {
		return p.clearQuotas(ctx)
	}
	if n == 0 {
		if err := p.rememberTimeSlices(ctx); err != nil {
			return err
		}
	}
	if err := p.tree.Change(ctx, p.restore(), "1"); err != nil {
		return err
	}
	return p.clearVRAM(ctx)
}

// clearVRAM takes back the local memory that sysfs gave to VFs: that leaves the mode automatic, so that the return to it
// changes nothing (xe_sriov_pf_provision_set_mode), and enabling VFs gives no memory to others then.
func (p *PF) clearVRAM(ctx context.Context) error {
	file := p.bulkFile("vram_quota")
	if !p.tree.Exists(file) {
		return nil
	}
	return p.tree.Write(ctx, file, "0")
}

// restore is the record of what the return to automatic mode undoes.
func (p *PF) restore() undo.Write {
	return undo.Write{Path: p.restoreFile(), Blind: true, Restore: "1"}
}

// RememberMode records, for [PF.SetQuota] without a [PF.Provision] before it, that the PF is to return to automatic mode.
// That works from a PF without VFs only: what others have enabled could not be put back. Kernels without modes need no
// record.
func (p *PF) RememberMode(ctx context.Context) error {
	n, err := p.NumVFs()
	if err != nil {
		return err
	}
	if n > 0 {
		return &bench.HostError{
			Op: "provision by hand", Noun: p.name(), Err: fmt.Errorf("somebody else has enabled %s: %w", prose.Count(n, "VF"), syscall.EBUSY),
			Advice: "what they hold could not be put back: disable them first",
		}
	}
	if !p.tree.Exists(p.restoreFile()) {
		return nil
	}
	if err := p.rememberTimeSlices(ctx); err != nil {
		return err
	}
	return p.record(ctx, p.restore())
}

// clearQuotas is for kernels without modes, where the kernel gives fair shares to VFs that hold nothing.
func (p *PF) clearQuotas(ctx context.Context) error {
	total, err := p.TotalVFs()
	if err != nil {
		return err
	}
	for vf := 1; vf <= total; vf++ {
		if err := p.SetQuota(ctx, vf, vgpu.Resources{}); err != nil {
			return err
		}
	}
	return nil
}

func (p *PF) provisionQuotas(ctx context.Context, plan vgpu.Plan) error {
	if err := p.checkGGTT(plan); err != nil {
		return err
	}
	if err := p.setSpare(ctx, plan.Spare); err != nil {
		return err
	}
	for vf := 1; vf <= plan.VFs; vf++ {
		if err := p.SetQuota(ctx, vf, *plan.Quota); err != nil {
			return err
		}
	}
	return p.secure(ctx, plan.Security, plan.VFs)
}

// checkGGTT refuses a plan that leaves the PF less GGTT than the kernel's minimum: the kernel itself would not.
func (p *PF) checkGGTT(plan vgpu.Plan) error {
	if err := plan.Quota.Check(); err != nil {
		return err
	}
	need := roundUp(plan.Quota.GGTT, p.ggttAlign()) * uint64(plan.VFs)
	for _, tile := range p.Tiles() {
		a, err := p.AvailableGGTT(tile)
		if err != nil {
			return err
		}
		if need > a.Avail {
			return &bench.HostError{
				Op: "provision", Noun: p.name(), Err: fmt.Errorf("%s would need %d bytes of GGTT, and %d can be given away: %w",
					prose.Count(plan.VFs, "VF"), need, a.Avail, syscall.ENOSPC),
				Advice: "ask for fewer VFs or for a smaller profile",
			}
		}
	}
	return nil
}

// SetQuota changes what one VF holds, on all tiles and GTs. The quotas of VFs are wiped whenever the PF returns to
// automatic mode, so where the kernel has modes a change is not recorded for itself ([PF.RememberMode]). Nor is it of enabled VFs
// where it has none: those lose all on being disabled.
func (p *PF) SetQuota(ctx context.Context, vf int, r vgpu.Resources) error {
	if err := p.CheckVF(vf); err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	record := r != vgpu.Resources{} && p.keeps()
	for _, h := range p.holdings(vf, "_quota") {
		n := *h.field(&r)
		if err := p.apply(ctx, setting{h.file, n, roundUp(n, h.align)}, record); err != nil {
			return err
		}
	}
	return nil
}

// keeps reports whether VFs keep the quotas that they are given until they are taken away one by one.
func (p *PF) keeps() bool {
	n, err := p.NumVFs()
	return p.flat && err == nil && n == 0
}

// SetVRAM changes how much local memory one VF has, in bytes on all tiles together, and nothing else. Where sysfs offers
// that (Linux 7.1) provisioning stays automatic and leaves the memory of VFs alone from then on; else it becomes custom.
func (p *PF) SetVRAM(ctx context.Context, vf int, n uint64) error {
	if err := p.CheckVF(vf); err != nil {
		return err
	}
	tiles := uint64(len(p.Tiles()))
	if file := p.adminFile(vf, "vram_quota"); p.tree.Exists(file) {
		return p.apply(ctx, setting{file, n, roundUp(n, tiles*vramAlign)}, true)
	}
	if !p.VRAM {
		return &bench.HostError{Op: "give local memory to VFs of", Noun: p.name(), Err: bench.ErrNotAvailable, Advice: "the GPU has none, or debugfs is not mounted"}
	}
	for _, gt := range p.mainGTs() {
		each := n / tiles
		if err := p.apply(ctx, setting{p.tileFile(vf, gt, "vram_quota"), each, roundUp(each, vramAlign)}, p.keeps()); err != nil {
			return err
		}
	}
	return nil
}

// setSpare changes what is kept for the PF. What is 0 stays as it is: the kernel has minima of its own.
func (p *PF) setSpare(ctx context.Context, r vgpu.Resources) error {
	for _, h := range p.holdings(0, "_spare") {
		n := *h.field(&r)
		if n == 0 {
			continue
		}
		if err := p.apply(ctx, setting{h.file, n, roundUp(n, h.align)}, true); err != nil {
			return err
		}
	}
	return nil
}

// Quota is what a VF holds. Tiles or GTs that differ are an error: there is no one answer then.
func (p *PF) Quota(vf int) (vgpu.Resources, error) { return p.resources(vf, "_quota") }

// Spare is what the kernel keeps for the PF.
func (p *PF) Spare() (vgpu.Resources, error) { return p.resources(0, "_spare") }

func (p *PF) resources(fn int, suffix string) (vgpu.Resources, error) {
	var r vgpu.Resources
	seen := map[*uint64]string{}
	for _, h := range p.holdings(fn, suffix) {
		n, err := p.read(h.file)
		if err != nil {
			return r, err
		}
		field := h.field(&r)
		if other := seen[field]; other != "" && *field != n {
			return r, &bench.HostError{Op: "read", Noun: h.file, Err: fmt.Errorf("it is %d, and %s is %d", n, other, *field)}
		}
		*field, seen[field] = n, h.file
	}
	return r, nil
}

// A holding is the file of one resource of one function.
type holding struct {
	file  string
	field func(*vgpu.Resources) *uint64
	align uint64 // the kernel rounds up to it
}

// holdings are the files of all resources of function fn: GGTT and VRAM once per tile, contexts and doorbells once per GT.
func (p *PF) holdings(fn int, suffix string) []holding {
	var list []holding
	align := p.ggttAlign()
	for _, gt := range p.GTs {
		if !gt.Media {
			list = append(list, holding{p.tileFile(fn, gt, "ggtt"+suffix), func(r *vgpu.Resources) *uint64 { return &r.GGTT }, align})
		}
		if !gt.Media && p.VRAM {
			align := uint64(vramAlign)
			if fn == 0 {
				align = 1 // a spare is not rounded
			}
			list = append(list, holding{p.tileFile(fn, gt, "vram"+suffix), func(r *vgpu.Resources) *uint64 { return &r.VRAM }, align})
		}
		list = append(list,
			holding{p.gtFile(fn, gt, "contexts"+suffix), func(r *vgpu.Resources) *uint64 { return &r.Contexts }, 1},
			holding{p.gtFile(fn, gt, "doorbells"+suffix), func(r *vgpu.Resources) *uint64 { return &r.Doorbells }, 1})
	}
	return list
}

// ggttAlign is what the driver rounds GGTT quotas up to, in bytes: the memory of ATS-M has pages of 64 KiB.
func (p *PF) ggttAlign() uint64 {
	if ids, err := p.IDs(); err == nil && ids.Device >= 0x56c0 && ids.Device <= 0x56c2 {
		return largePage
	}
	return pageSize
}

// EnableVFs enables n VFs with the host's drivers kept off them, gives them the time slices of the plan that [PF.Provision]
// was called with, if it was, and checks that each holds resources. The PF's own scheduling is recorded first: enabling
// and disabling VFs may change it.
func (p *PF) EnableVFs(ctx context.Context, n int) ([]*pci.Device, error) {
	if err := p.SetAutoprobe(ctx, false); err != nil {
		return nil, err
	}
	if err := p.rememberPF(ctx); err != nil {
		return nil, err
	}
	if err := p.Device.EnableVFs(ctx, n); err != nil {
		return nil, p.notEnabled(err)
	}
	if p.scheduling != nil {
		if err := p.setSlices(ctx, *p.scheduling, n, n, false); err != nil {
			return nil, err
		}
	}
	for vf := 1; vf <= n; vf++ {
		q, err := p.Quota(vf)
		if errors.Is(err, bench.ErrNotAvailable) {
			break // no debugfs to look into
		}
		if err == nil && (q.Contexts == 0 || q.GGTT == 0 || p.VRAM && q.VRAM == 0) {
			err = &bench.HostError{
				Op: "enable", Noun: fmt.Sprintf("VF%d of %s", vf, p.name()), Err: fmt.Errorf("it holds too little: %+v", q),
				Advice: p.missingQuota(q),
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return p.VFs()
}
