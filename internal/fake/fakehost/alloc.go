package fakehost

import (
	"slices"
	"syscall"
)

const (
	pageSize     = 4 << 10
	vramAlign    = 2 << 20
	ggttTop      = 0xfee00000
	minGGTTSpare = 64 << 20
	minVRAMSpare = 128 << 20
	maxContexts  = 65535
	maxDoorbells = 256
	minContexts  = 256 // smallest spare
	ownContexts  = 1   // that the PF's driver uses itself: of its migrate queue (xe_migrate.c)
)

func roundUp(n, to uint64) uint64   { return (n + to - 1) / to * to }
func roundDown(n, to uint64) uint64 { return n / to * to }

// ggttBase is the end of what firmware keeps at the bottom of the GGTT (WOPCM).
func (h *Host) ggttBase() uint64 {
	if h.o.VRAM > 0 {
		return 4 << 20
	}
	return 2 << 20
}

// ggttPage is 64 KiB on ATS-M.
func (h *Host) ggttPage() uint64 {
	if h.recent() && h.o.Device >= 0x56c0 && h.o.Device <= 0x56c2 {
		return 64 << 10
	}
	return pageSize
}

func (h *Host) ggttHoles(skip int) []span {
	return holes(h.ggttBase(), ggttTop, h.used(skip, func(f *function) span { return f.GGTT }))
}

// shownHoles are the holes as Linux 7.3 shows and counts them: as offsets in the allocator, which begins behind the firmware's
// part, but cut off where that would end (xe_ggtt_print_holes).
func (h *Host) shownHoles(skip int) []span {
	list := h.ggttHoles(skip)
	if !h.recent() {
		return list
	}
	var shown []span
	for _, s := range list {
		if start, end := max(s.Start-h.ggttBase(), h.ggttBase()), s.end()-h.ggttBase(); start < end {
			shown = append(shown, span{start, end - start})
		}
	}
	return shown
}

func (h *Host) ggttSpare() uint64 { return max(h.s.GGTTSpare, minGGTTSpare) }
func (h *Host) vramSpare() uint64 { return max(h.s.VRAMSpare, minVRAMSpare) }

// setGGTT gives fn a range from the top of the highest hole that is large enough. Like all re-provisioning it frees the
// old range first, and fn has nothing when that fails.
func (h *Host) setGGTT(fn int, size uint64) error {
	size = roundUp(size, h.ggttPage())
	f := &h.s.Functions[fn]
	f.GGTT = span{}
	if size == 0 {
		return nil
	}
	for _, hole := range slices.Backward(h.ggttHoles(fn)) {
		if hole.Size >= size {
			f.GGTT = span{hole.end() - size, size}
			return nil
		}
	}
	return syscall.ENOSPC
}

func (h *Host) setVRAM(fn int, size uint64) error {
	size = roundUp(size, vramAlign)
	h.s.Functions[fn].VRAM = 0
	if size > h.freeVRAM() {
		return syscall.ENOSPC
	}
	h.s.Functions[fn].VRAM = size
	return nil
}

func (h *Host) freeVRAM() uint64 {
	free := h.o.VRAM
	for i := range h.s.Functions {
		free -= h.s.Functions[i].VRAM
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

func (h *Host) contextsSpare(g int) uint64 {
	return max(h.s.GTs[g].Numbers["contexts_spare"], minContexts)
}

// usedContexts are the ids that are taken on a GT but for those of function skip. The PF's driver has the lowest; the stand-in
// has none.
func (h *Host) usedContexts(skip, g int) []span {
	used := h.used(skip, contexts(g))
	if !h.o.StandIn {
		used = append(used, span{0, ownContexts})
	}
	return used
}

// setContexts gives fn the highest free ids of a GT.
func (h *Host) setContexts(fn, g int, n uint64) error {
	own := &h.s.Functions[fn].GTs[g].Contexts
	if n > maxContexts {
		return syscall.EINVAL
	}
	*own = span{}
	used := h.usedContexts(fn, g)
	if n > 0 && total(used)+n+h.contextsSpare(g) > maxContexts {
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
func (h *Host) setDoorbells(fn, g int, n uint64) error {
	own := &h.s.Functions[fn].GTs[g].Doorbells
	if n > maxDoorbells {
		return syscall.EINVAL
	}
	*own = span{}
	used := h.used(fn, doorbells(g))
	spare := h.s.GTs[g].Numbers["doorbells_spare"]
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

// recent reports whether the driver is that of Linux 7.3, not the lab's stand-in or one up to 6.18.
func (h *Host) recent() bool { return !h.o.Flat && !h.o.StandIn }

// What the driver gives the PF and VFs that have no scheduling of their own (XE_FAIR_EXEC_QUANTUM_MS and so on).
const fairQuantum, fairTimeout = 16, 16_000

// fairScheduling gives the PF and VF1..n equal time slices on a GT, unless one of them has scheduling of its own there
// (xe_gt_sriov_pf_config_set_fair_sched).
func (h *Host) fairScheduling(g, n int) {
	for fn := 0; fn <= n; fn++ {
		m := h.s.Functions[fn].GTs[g].Numbers
		if m["exec_quantum_ms"] != 0 || m["preempt_timeout_us"] != 0 || m["sched_priority"] != 0 {
			return
		}
	}
	if h.s.GTs[g].Numbers["sched_if_idle"] != 0 {
		return
	}
	for fn := 0; fn <= n; fn++ {
		m := h.s.Functions[fn].GTs[g].Numbers
		m["exec_quantum_ms"], m["preempt_timeout_us"] = fairQuantum, fairTimeout
		if fn == 0 && h.o.AdminOnly {
			m["sched_priority"] = 2
		}
	}
}

// defaultScheduling is what disabling VFs does to the PF in automatic mode (xe_sriov_pf_reprovision_default).
func (h *Host) defaultScheduling() {
	for g := range h.s.GTs {
		h.setIdle(g, 0)
		m := h.s.Functions[0].GTs[g].Numbers
		set(m, "exec_quantum_ms", 0)
		set(m, "preempt_timeout_us", 0)
	}
}

// autoProvision gives VF1..n fair shares on each GT. Since Linux 6.19 they are also capped by a profile (powers of two).
func (h *Host) autoProvision(n int) error {
	for g := range h.s.GTs {
		empty := true
		for fn := 1; fn <= n; fn++ {
			f := &h.s.Functions[fn]
			if f.GTs[g].Contexts.Size > 0 || f.GTs[g].Doorbells.Size > 0 || g == 0 && (f.GGTT.Size > 0 || f.VRAM > 0) {
				empty = false
			}
		}
		if h.recent() {
			h.fairScheduling(g, n)
		}
		if !empty && !h.o.Flat && h.o.StandIn {
			return syscall.EUCLEAN
		}
		if !empty && h.o.Flat {
			continue // up to 6.18 what was set by hand wins
		}
		if err := h.fairShares(g, uint64(n)); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) fairShares(g int, n uint64) error {
	type resource struct {
		share uint64
		set   func(fn int, share uint64) error
	}
	var list []resource
	if g == 0 {
		list = append(list, resource{h.cap(h.fairGGTT(n), 0xe0000000/n), h.setGGTT})
	}
	if g == 0 && h.o.VRAM > 0 {
		list = append(list, resource{h.fairVRAM(n), h.setVRAM})
	}
	freeContexts := maxContexts - total(h.usedContexts(-1, g)) - h.contextsSpare(g)
	freeDoorbells := maxDoorbells - total(h.used(-1, doorbells(g))) - h.s.GTs[g].Numbers["doorbells_spare"]
	list = append(list,
		resource{h.cap(freeContexts/n, maxContexts/n), func(fn int, v uint64) error { return h.setContexts(fn, g, v) }},
		resource{h.cap(freeDoorbells/n, maxDoorbells/(n+1)), func(fn int, v uint64) error { return h.setDoorbells(fn, g, v) }})
	for i, r := range list {
		if h.recent() && h.holdsAny(i, g, n) {
			continue // what VFs were given before wins, resource by resource
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

// holdsAny reports whether one of VF1..n has any of resource i of those that fairShares lists for the GT.
func (h *Host) holdsAny(i, g int, n uint64) bool {
	for fn := 1; fn <= int(n); fn++ {
		f := &h.s.Functions[fn]
		list := []bool{f.GTs[g].Contexts.Size > 0, f.GTs[g].Doorbells.Size > 0}
		if g == 0 && h.o.VRAM > 0 {
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
func (h *Host) cap(estimate, most uint64) uint64 {
	if h.o.Flat {
		return estimate
	}
	power := uint64(1)
	for power*2 <= most {
		power *= 2
	}
	return min(estimate, power)
}

func (h *Host) fairGGTT(n uint64) uint64 {
	var largest uint64
	for _, hole := range h.shownHoles(-1) {
		largest = max(largest, hole.Size)
	}
	return roundDown((largest-min(largest, h.ggttSpare()))/n, pageSize)
}

func (h *Host) fairVRAM(n uint64) uint64 {
	free := h.freeVRAM()
	return roundDown(roundDown(free-min(free, h.vramSpare()), vramAlign)/n, vramAlign)
}
