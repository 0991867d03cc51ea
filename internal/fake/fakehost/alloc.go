package fakehost

import (
	"slices"
	"syscall"
)

// A provisioner gives VFs their shares of the GPU. It does the allocation of xe's PF driver, and
// the firmware's scheduling.
type provisioner struct{ *core }

const (
	pageSize     = 4 << 10
	vramAlign    = 2 << 20
	ggttTop      = 0xfee00000
	minGGTTSpare = 64 << 20
	minVRAMSpare = 128 << 20
	maxContexts  = 65535
	maxDoorbells = 256
	minContexts  = 256 // smallest spare
	ownContexts  = 1   // for the PF driver's own migrate queue (xe_migrate.c)
)

func roundUp(n, to uint64) uint64   { return (n + to - 1) / to * to }
func roundDown(n, to uint64) uint64 { return n / to * to }

// ggttBase returns the end of the firmware's part at the bottom of the GGTT (WOPCM).
func (p *provisioner) ggttBase() uint64 {
	if p.o.VRAM > 0 {
		return 4 << 20
	}
	return 2 << 20
}

// ggttPage returns the size of a GGTT page: 64 KiB on ATS-M.
func (p *provisioner) ggttPage() uint64 {
	if p.recent() && p.o.Device >= 0x56c0 && p.o.Device <= 0x56c2 {
		return 64 << 10
	}
	return pageSize
}

func (p *provisioner) ggttHoles(skip int) []span {
	return holes(p.ggttBase(), ggttTop, p.used(skip, func(f *function) span { return f.GGTT }))
}

// shownHoles returns the holes as Linux 7.3 shows and counts them. They are offsets in the
// allocator, which begins after the firmware's part, but they are cut off at the allocator's size
// (xe_ggtt_print_holes).
func (p *provisioner) shownHoles(skip int) []span {
	list := p.ggttHoles(skip)
	if !p.recent() {
		return list
	}
	var shown []span
	for _, s := range list {
		if start, end := max(s.Start-p.ggttBase(), p.ggttBase()), s.end()-p.ggttBase(); start < end {
			shown = append(shown, span{start, end - start})
		}
	}
	return shown
}

func (p *provisioner) ggttSpare() uint64 { return max(p.s.GGTTSpare, minGGTTSpare) }
func (p *provisioner) vramSpare() uint64 { return max(p.s.VRAMSpare, minVRAMSpare) }

// setGGTT gives fn a range from the top of the highest hole that is large enough. Like all
// re-provisioning it frees the old range first, so fn has nothing after a failure.
func (p *provisioner) setGGTT(fn int, size uint64) error {
	size = roundUp(size, p.ggttPage())
	f := &p.s.Functions[fn]
	f.GGTT = span{}
	if size == 0 {
		return nil
	}
	for _, hole := range slices.Backward(p.ggttHoles(fn)) {
		if hole.Size >= size {
			f.GGTT = span{hole.end() - size, size}
			return nil
		}
	}
	return syscall.ENOSPC
}

func (p *provisioner) setVRAM(fn int, size uint64) error {
	size = roundUp(size, vramAlign)
	p.s.Functions[fn].VRAM = 0
	if size > p.o.VRAM {
		return syscall.E2BIG
	}
	if size > p.freeVRAM() {
		return syscall.ENOSPC
	}
	p.s.Functions[fn].VRAM = size
	return nil
}

func (p *provisioner) freeVRAM() uint64 {
	free := p.o.VRAM
	for i := range p.s.Functions {
		free -= p.s.Functions[i].VRAM
	}
	return free
}

func contexts(g int) func(*function) span { return func(f *function) span { return f.GTs[g].Contexts } }

func doorbells(g int) func(*function) span {
	return func(f *function) span { return f.GTs[g].Doorbells }
}

func total(list []span) (n uint64) {
	for _, s := range list {
		n += s.Size
	}
	return n
}

func (p *provisioner) contextsSpare(g int) uint64 {
	return max(p.s.GTs[g].Numbers["contexts_spare"], minContexts)
}

// usedContexts returns the ids in use on a GT, without those of function skip. The PF's driver has
// the lowest ones; with the stand-in it has none.
func (p *provisioner) usedContexts(skip, g int) []span {
	used := p.used(skip, contexts(g))
	if !p.o.StandIn {
		used = append(used, span{0, ownContexts})
	}
	return used
}

// setContexts gives fn the highest free ids of a GT.
func (p *provisioner) setContexts(fn, g int, n uint64) error {
	own := &p.s.Functions[fn].GTs[g].Contexts
	if n > maxContexts {
		return syscall.EINVAL
	}
	*own = span{}
	used := p.usedContexts(fn, g)
	if n > 0 && total(used)+n+p.contextsSpare(g) > maxContexts {
		return syscall.EDQUOT
	}
	for _, hole := range slices.Backward(holes(0, maxContexts, used)) {
		if n > 0 && hole.Size >= n {
			*own = span{hole.end() - n, n}
			return nil
		}
	}
	return enospc(n)
}

// setDoorbells gives fn the lowest free ids of a GT.
func (p *provisioner) setDoorbells(fn, g int, n uint64) error {
	own := &p.s.Functions[fn].GTs[g].Doorbells
	if n > maxDoorbells {
		return syscall.EINVAL
	}
	*own = span{}
	used := p.used(fn, doorbells(g))
	spare := p.s.GTs[g].Numbers["doorbells_spare"]
	if n > 0 && spare != 0 && total(used)+n+spare > maxDoorbells {
		return syscall.EDQUOT
	}
	for _, hole := range holes(0, maxDoorbells, used) {
		if n > 0 && hole.Size >= n {
			*own = span{hole.Start, n}
			return nil
		}
	}
	return enospc(n)
}

func enospc(n uint64) error {
	if n == 0 {
		return nil
	}
	return syscall.ENOSPC
}

// These are the driver's values for a PF and VFs without their own scheduling
// (XE_FAIR_EXEC_QUANTUM_MS and so on).
const fairQuantum, fairTimeout = 16, 16_000

// fairScheduling gives the PF and VF1..n equal time slices on a GT, unless one of them has its own
// scheduling there (xe_gt_sriov_pf_config_set_fair_sched).
func (p *provisioner) fairScheduling(g, n int) {
	for fn := 0; fn <= n; fn++ {
		m := p.s.Functions[fn].GTs[g].Numbers
		if m["exec_quantum_ms"] != 0 || m["preempt_timeout_us"] != 0 || m["sched_priority"] != 0 {
			return
		}
	}
	if p.s.GTs[g].Numbers["sched_if_idle"] != 0 {
		return
	}
	for fn := 0; fn <= n; fn++ {
		m := p.s.Functions[fn].GTs[g].Numbers
		m["exec_quantum_ms"], m["preempt_timeout_us"] = fairQuantum, fairTimeout
		if fn == 0 && p.o.AdminOnly {
			m["sched_priority"] = 2
		}
	}
}

// defaultScheduling restores the PF's scheduling, as disabling VFs in automatic mode does
// (xe_sriov_pf_reprovision_default).
func (p *provisioner) defaultScheduling() {
	for g := range p.s.GTs {
		p.setIdle(g, 0)
		m := p.s.Functions[0].GTs[g].Numbers
		set(m, "exec_quantum_ms", 0)
		set(m, "preempt_timeout_us", 0)
	}
}

// autoProvision gives VF1..n fair shares on each GT. Since Linux 6.19 a profile of powers of two
// limits them, too.
func (p *provisioner) autoProvision(n int) error {
	for g := range p.s.GTs {
		empty := true
		for fn := 1; fn <= n; fn++ {
			f := &p.s.Functions[fn]
			if f.GTs[g].Contexts.Size > 0 || f.GTs[g].Doorbells.Size > 0 || g == 0 && (f.GGTT.Size > 0 || f.VRAM > 0) {
				empty = false
			}
		}
		if p.recent() {
			p.fairScheduling(g, n)
		}
		if !empty && !p.o.Flat && p.o.StandIn {
			return syscall.EUCLEAN
		}
		if !empty && p.o.Flat {
			continue // up to 6.18 the kernel keeps values that were set by hand
		}
		if err := p.fairShares(g, uint64(n)); err != nil {
			return err
		}
	}
	return nil
}

func (p *provisioner) fairShares(g int, n uint64) error {
	type resource struct {
		share uint64
		set   func(fn int, share uint64) error
	}
	var list []resource
	if g == 0 {
		list = append(list, resource{p.cap(p.fairGGTT(n), 0xe0000000/n), p.setGGTT})
	}
	if g == 0 && p.o.VRAM > 0 {
		list = append(list, resource{p.fairVRAM(n), p.setVRAM})
	}
	freeContexts := maxContexts - total(p.usedContexts(-1, g)) - p.contextsSpare(g)
	freeDoorbells := maxDoorbells - total(p.used(-1, doorbells(g))) - p.s.GTs[g].Numbers["doorbells_spare"]
	list = append(list,
		resource{p.cap(freeContexts/n, maxContexts/n), func(fn int, v uint64) error { return p.setContexts(fn, g, v) }},
		resource{
			p.cap(freeDoorbells/n, maxDoorbells/(n+1)),
			func(fn int, v uint64) error { return p.setDoorbells(fn, g, v) },
		})
	for i, r := range list {
		if p.recent() && p.holdsAny(i, g, n) {
			continue // the kernel keeps earlier values of VFs, resource by resource
		}
		if r.share == 0 {
			return syscall.ENOSPC
		}
		for fn := 1; fn <= int(n); fn++ {
			if err := r.set(fn, r.share); err != nil {
				return err
			}
		}
	}
	return nil
}

// holdsAny reports whether one of VF1..n has any of resource i in the list of fairShares for the
// GT.
func (p *provisioner) holdsAny(i, g int, n uint64) bool {
	for fn := 1; fn <= int(n); fn++ {
		f := &p.s.Functions[fn]
		list := []bool{f.GTs[g].Contexts.Size > 0, f.GTs[g].Doorbells.Size > 0}
		if g == 0 && p.o.VRAM > 0 {
			list = append([]bool{f.VRAM > 0}, list...)
		}
		if g == 0 {
			list = append([]bool{f.GGTT.Size > 0}, list...)
		}
		if list[i] {
			return true
		}
	}
	return false
}

// cap limits an estimate to the largest power of two up to most.
func (p *provisioner) cap(estimate, most uint64) uint64 {
	if p.o.Flat {
		return estimate
	}
	power := uint64(1)
	for power*2 <= most {
		power *= 2
	}
	return min(estimate, power)
}

func (p *provisioner) fairGGTT(n uint64) uint64 {
	var largest uint64
	for _, hole := range p.shownHoles(-1) {
		largest = max(largest, hole.Size)
	}
	return roundDown((largest-min(largest, p.ggttSpare()))/n, pageSize)
}

func (p *provisioner) fairVRAM(n uint64) uint64 {
	free := p.freeVRAM()
	return roundDown(roundDown(free-min(free, p.vramSpare()), vramAlign)/n, vramAlign)
}

// release clears the configuration of VF1..n.
func (p *provisioner) release(n int) {
	for fn := 1; fn <= n; fn++ {
		p.s.Functions[fn].clear()
	}
}

// setIdle sets schedule-if-idle on a GT. The firmware then changes all priorities there.
func (p *provisioner) setIdle(g int, v uint64) {
	set(p.s.GTs[g].Numbers, "sched_if_idle", v)
	for i := range p.s.Functions {
		set(p.s.Functions[i].GTs[g].Numbers, "sched_priority", v)
	}
}

// used returns the spans of a resource that functions have, without those of function skip.
func (p *provisioner) used(skip int, of func(*function) span) []span {
	var list []span
	for i := range p.s.Functions {
		if s := of(&p.s.Functions[i]); i != skip && s.Size > 0 {
			list = append(list, s)
		}
	}
	return list
}
