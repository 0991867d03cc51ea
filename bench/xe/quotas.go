package xe

import (
	"context"
	"fmt"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/xe/vgpu"
)

// Quotas gives access to the hard quotas of a PF's VFs, and to the PF's spares.
type Quotas struct {
	files
	device *pci.Device
	name   string // the PF's, for messages
	vram   bool   // the GPU has local memory
}

// Of returns the quotas of a VF. If GTs have different numbers of contexts or doorbells, the result
// has the smaller number; [Quotas.ByGT] has all numbers. Of fails if tiles differ.
func (q *Quotas) Of(vf int) (vgpu.Resources, error) { return q.resources(vf, "_quota") }

// ByGT returns the quotas of a VF on each GT, in the order of [PF.GTs]. Only main GTs have GGTT and
// local memory: those of their tile.
func (q *Quotas) ByGT(vf int) ([]vgpu.Resources, error) {
	all := make([]vgpu.Resources, len(q.gts))
	for i, gt := range q.gts {
		for _, h := range q.holdingsOn(gt, vf, "_quota") {
			n, err := q.read(h.file)
			if err != nil {
				return nil, err
			}
			*h.field(&all[i]) = n
		}
	}
	return all, nil
}

// Spare returns the resources that the kernel keeps for the PF.
func (q *Quotas) Spare() (vgpu.Resources, error) { return q.resources(0, "_spare") }

// Set changes the quotas of one VF, on all tiles and GTs. If the kernel has modes, Set journals
// nothing: the return to automatic mode clears the quotas of VFs ([PF.RememberMode]). If it has
// none, Set does not journal quotas of enabled VFs: disabling the VFs clears them.
func (q *Quotas) Set(ctx context.Context, vf int, r vgpu.Resources) error {
	if err := checkVF(q.device, q.name, vf); err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	record := r != vgpu.Resources{} && q.keeps()
	for _, h := range q.holdings(vf, "_quota") {
		n := *h.field(&r)
		if err := q.apply(ctx, setting{h.file, n, roundUp(n, h.align)}, record); err != nil {
			return err
		}
	}
	return nil
}

// keeps reports whether VFs keep their quotas until they are cleared one by one.
func (q *Quotas) keeps() bool {
	n, err := q.device.NumVFs()
	return q.flat && err == nil && n == 0
}

// SetVRAM changes only the local memory of one VF, in bytes on all tiles together. If sysfs has a
// file for it (Linux 7.0), provisioning stays automatic, and the kernel no longer changes the
// memory of VFs. Otherwise the mode becomes custom.
func (q *Quotas) SetVRAM(ctx context.Context, vf int, n uint64) error {
	if err := checkVF(q.device, q.name, vf); err != nil {
		return err
	}
	mains := q.mainGTs()
	tiles := uint64(len(mains))
	if file := q.adminFile(vf, "vram_quota"); q.tree.Exists(file) {
		return q.apply(ctx, setting{file, n, roundUp(n, tiles*vramAlign)}, true)
	}
	if !q.vram {
		return &bench.HostError{
			Op: "give local memory to VFs of", Noun: q.name, Err: bench.ErrNotAvailable,
			Advice: "the GPU has none, or debugfs is not mounted",
		}
	}
	for _, gt := range mains {
		each := n / tiles
		set := setting{q.tileFile(vf, gt, "vram_quota"), each, roundUp(each, vramAlign)}
		if err := q.apply(ctx, set, q.keeps()); err != nil {
			return err
		}
	}
	return nil
}

// SetsVRAMAlone reports whether [Quotas.SetVRAM] leaves provisioning automatic: Linux 7.0 and newer.
func (q *Quotas) SetsVRAMAlone() bool { return q.tree.Exists(q.adminFile(1, "vram_quota")) }

// setSpare changes the PF's spares. A spare of 0 is not written: the kernel has its own minima.
func (q *Quotas) setSpare(ctx context.Context, r vgpu.Resources) error {
	for _, h := range q.holdings(0, "_spare") {
		n := *h.field(&r)
		if n == 0 {
			continue
		}
		if err := q.apply(ctx, setting{h.file, n, roundUp(n, h.align)}, true); err != nil {
			return err
		}
	}
	return nil
}

// clear sets all quotas to 0, on kernels without modes. Such a kernel gives fair shares to VFs
// without quotas.
func (q *Quotas) clear(ctx context.Context) error {
	total, err := q.device.TotalVFs()
	if err != nil {
		return err
	}
	for vf := 1; vf <= total; vf++ {
		if err := q.Set(ctx, vf, vgpu.Resources{}); err != nil {
			return err
		}
	}
	return nil
}

// clearVRAM removes the local memory that sysfs gave to VFs. The mode stays automatic, so a return
// to automatic mode would change nothing (xe_sriov_pf_provision_set_mode), and enabling VFs would
// give no memory to others.
func (q *Quotas) clearVRAM(ctx context.Context) error {
	file := q.bulkFile("vram_quota")
	if !q.tree.Exists(file) {
		return nil
	}
	return q.tree.Write(ctx, file, "0")
}

// resources reads all files of function fn. Each GT shares out its contexts and doorbells by itself.
// On Linux 6.17.13, a VF was seen to get 65278 contexts on one GT and 65279 on the other. The result
// for a VF then has the smaller number.
func (q *Quotas) resources(fn int, suffix string) (vgpu.Resources, error) {
	var r vgpu.Resources
	seen := map[*uint64]string{}
	for _, h := range q.holdings(fn, suffix) {
		n, err := q.read(h.file)
		if err != nil {
			return r, err
		}
		field := h.field(&r)
		perGT := fn > 0 && (field == &r.Contexts || field == &r.Doorbells)
		if other := seen[field]; other != "" && perGT {
			n = min(n, *field)
		} else if other != "" && *field != n {
			return r, &bench.HostError{
				Op: "read", Noun: h.file, Err: fmt.Errorf("the value is %d, but %s is %d", n, other, *field),
			}
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

// holdings returns the files of all resources of function fn: GGTT and VRAM once per tile, contexts
// and doorbells once per GT.
func (q *Quotas) holdings(fn int, suffix string) []holding {
	var list []holding
	for _, gt := range q.gts {
		list = append(list, q.holdingsOn(gt, fn, suffix)...)
	}
	return list
}

// holdingsOn returns the files of function fn for one GT, and for the tile of a main GT.
func (q *Quotas) holdingsOn(gt GT, fn int, suffix string) []holding {
	var list []holding
	add := func(file string, align uint64, field func(*vgpu.Resources) *uint64) {
		list = append(list, holding{file, field, align})
	}
	if !gt.Media {
		file := q.tileFile(fn, gt, "ggtt"+suffix)
		add(file, q.ggttAlign(), func(r *vgpu.Resources) *uint64 { return &r.GGTT })
	}
	if !gt.Media && q.vram {
		align := uint64(vramAlign)
		if fn == 0 {
			align = 1 // a spare is not rounded
		}
		add(q.tileFile(fn, gt, "vram"+suffix), align, func(r *vgpu.Resources) *uint64 { return &r.VRAM })
	}
	add(q.gtFile(fn, gt, "contexts"+suffix), 1, func(r *vgpu.Resources) *uint64 { return &r.Contexts })
	add(q.gtFile(fn, gt, "doorbells"+suffix), 1, func(r *vgpu.Resources) *uint64 { return &r.Doorbells })
	return list
}

// ggttAlign returns what the driver rounds GGTT quotas up to, in bytes. The memory of ATS-M has
// pages of 64 KiB (pf_get_ggtt_alignment).
func (q *Quotas) ggttAlign() uint64 {
	if ids, err := q.device.IDs(); err == nil && ids.Device >= 0x56c0 && ids.Device <= 0x56c2 {
		return largePage
	}
	return pageSize
}
