//go:build integration

package qtest

import (
	"bytes"
	"fmt"
	"testing"
)

// The local memory of the tests' device: the PF's LMTT, and two pages for each VF, which lie between
// those of its neighbours.
const (
	vram     = 1 << 30
	lpage    = 2 << 20
	quota    = 2 * lpage
	lmttDir  = 16 << 20
	lmttUnit = 64 << 10
	lmemCfg  = 0x48b0
	lmemProp = ",platform=bmg,vram=1G,gts=2"

	local        = 1 << 1  // in a GGTT entry
	present      = 1       // in any entry
	large        = 1 << 7  // in an entry of a page directory
	ppgttLocal   = 1 << 11 // in an entry of a page table
	tables       = 0x10000 // address of a VF's page tables, in the VF's local memory
	pfTables     = 8 << 20 // address of the PF's page tables
	outVA        = 1 << 39 // virtual address of memory of the machine in those tables
	memCopy      = 2<<29 | 0x5a<<22 | 8
	memSet       = 2<<29 | 0x5b<<22 | 5
	catError     = 0x6000
	contextReset = 0x1008
)

// lmemOf returns the physical address of an address in the local memory of a VF.
func lmemOf(vf int, addr uint64) uint64 {
	return 64<<20 + (addr/lpage*vfs+uint64(vf-1))*lpage + addr%lpage
}

// mark is the value of all bytes that belong to a function.
func mark(fn int) byte { return 0xb0 + byte(fn) }

func vfBar2Of(vf int) uint64 { return vfBar2 + uint64(vf-1)*vram }

func (g *gpu) memset(addr, n uint64, v byte) { g.do("memset %#x %#x %#x", addr, n, v) }

// mapLMTT enters n pages into the LMTT of a VF, and invalidates the other entries.
func (g *gpu) mapLMTT(vf, n int) {
	dir, mid, leaf := uint64(lmttDir), uint64(lmttDir+vf*lmttUnit), uint64(lmttDir+(vfs+1+vf)*lmttUnit)
	g.W64(bar2+dir+uint64(vf)*8, mid/lmttUnit<<4|present)
	g.W64(bar2+mid, leaf/lmttUnit<<4|present)
	for i := range uint64(4) {
		pte := lmemOf(vf, i*lpage) / lpage << 5
		if i < uint64(n) {
			pte |= present
		}
		g.W32(bar2+leaf+i*4, uint32(pte))
	}
}

// readyLocal is readyMedia with local memory. Each byte of a VF's local memory, and of the PF's
// beside it, is the function's mark.
func readyLocal(t testing.TB) *gpu {
	t.Helper()
	g := newGPUWith(t, lmemProp)
	g.memset(bar2+60<<20, 24<<20, mark(0))
	for vf := 1; vf <= vfs; vf++ {
		g.mapLMTT(vf, quota/lpage)
		for a := uint64(0); a < quota; a += lpage {
			g.memset(bar2+lmemOf(vf, a), lpage, mark(vf))
		}
	}
	for gt, base := range []uint64{0, mediaGT} {
		g.W32(reg(0, base+lmemCfg), 1<<31|lmttDir/lmttUnit)
		g.loadGuCOf(base)
		g.openCT(gt * media)
		for n := 1; n <= vfs; n++ {
			g.provision(gt*media+n, 3<<16|2, quota, 0)
			g.openCT(gt*media + n)
		}
	}
	g.ok()
	return g
}

// others reports whether b has a byte that belongs to another function than fn.
func others(b []byte, fn int) bool {
	for n := range vfs + 1 {
		if n != fn && bytes.IndexByte(b, mark(n)) >= 0 {
			return true
		}
	}
	return false
}

// checkOthers fails the test unless the memory of all functions but fn is unchanged.
func (g *gpu) checkOthers(fn int, what string) {
	g.t.Helper()
	for vf := 1; vf <= vfs; vf++ {
		for a := uint64(0); vf != fn && a < quota; a += lpage {
			b := g.Read(bar2+lmemOf(vf, a), lpage)
			if len(b) != lpage || len(bytes.Trim(b, string([]byte{mark(vf)}))) != 0 {
				g.t.Errorf("%s: VF%d changed the local memory of VF%d", what, fn, vf)
			}
		}
	}
	if b := g.Read(bar2+60<<20, 4<<20); len(bytes.Trim(b, string([]byte{mark(0)}))) != 0 {
		g.t.Errorf("%s: VF%d changed the local memory of the PF", what, fn)
	}
}

// targets are addresses of local memory that a VF may try: each page of local memory, the ends of
// its quota, the LMTT, and addresses that are too large for a careless sum.
func targets() []uint64 {
	var t []uint64
	for a := uint64(0); a < 128<<20; a += lpage {
		t = append(t, a, a+lpage-4)
	}
	for vf := range vfs + 1 {
		t = append(t, lmttDir+uint64(vf)*lmttUnit, lmttDir+uint64(vfs+1+vf)*lmttUnit)
	}
	for shift := 27; shift < 52; shift++ {
		t = append(t, 1<<shift, 1<<shift|lmemOf(2, 0), 1<<52-1<<shift)
	}
	return append(t, quota-4, quota, vram-4, vram, 32<<30|lmemOf(2, 0), 1<<48-4, 1<<52-4)
}

// few are targets in the memory of each function, for states in which all targets would take long.
func few() []uint64 {
	t := []uint64{0, quota - 4, quota, lmttDir, 60 << 20, vram - 4, vram}
	for vf := 1; vf <= vfs; vf++ {
		t = append(t, lmemOf(vf, 0), lmemOf(vf, lpage))
	}
	return t
}

// A spy is a VF that tries to reach memory which is not its own. It uses a new context for each
// attempt, because a fault ends the context.
type spy struct {
	g          *gpu
	fn         int
	id         uint32
	w          *work
	va, out    uint64 // a page of the machine's memory for what the spy finds, in the GGTT and in RAM
	own        uint64 // GGTT address whose entry the spy changes
	root, base uint64 // its page tables: address in its local memory, and in its BAR
}

func (g *gpu) newSpy(fn int) *spy {
	s := &spy{g: g, fn: fn}
	s.va, s.out = g.alloc(fn, 1)
	s.own, _ = g.alloc(fn, 1)
	s.w = g.newRing(fn, 0)
	s.root, s.base = pfTables, bar2+pfTables
	if fn%media > 0 {
		s.root, s.base = tables, vfBar2Of(fn%media)+tables
	}
	// Its page tables: local memory at 0, by entries of 1 GiB, and the page at outVA.
	base, root := s.base, s.root
	for i := range uint64(3) {
		g.memset(base+i<<12, 4096, 0)
	}
	g.memset(base+3<<12, 3*4096, 0)
	g.W64(base, root+1<<12|present)               // level 4
	g.W64(base+1<<12, root+2<<12|present)         // level 3: the first 512 GiB
	g.W64(base+1<<12+8, root+3<<12|present)       // level 3: outVA
	g.W64(base+2<<12, 0|ppgttLocal|large|present) // level 2: 1 GiB of local memory
	g.W64(base+3<<12, root+4<<12|present)
	g.W64(base+4<<12, root+5<<12|present)
	g.W64(base+5<<12, s.out|present)
	return s
}

// run executes commands in a new context and reports whether they faulted.
func (s *spy) run(class uint32, root uint64, cmd ...uint32) (fault bool) {
	s.g.t.Helper()
	s.id = s.id%200 + 1
	w := s.w
	w.id, w.tail = s.id, 0
	for dw, v := range map[uint64]uint32{0x05: 0, 0x07: 0, 0x31: uint32(root >> 32), 0x33: uint32(root)} {
		s.g.W32(w.image+dw*4, v)
	}
	s.g.send(s.fn, 0x20000000|0x4502, 0, w.id, class, 1, 0, 0, 0, 0, 0, uint32(w.lrca), 0)
	s.g.send(s.fn, 0x20000000|0x1001, w.id, 1)
	w.submit(cmd...)
	s.g.run(ms)
	faults := s.g.events(s.fn, catError)
	s.g.events(s.fn, contextReset)
	s.g.call(s.fn, 0x4503, w.id)
	s.g.recv(s.fn)
	return len(faults) > 0
}

// found returns the bytes that the last attempt brought into the spy's page, and clears the page.
func (s *spy) found() []byte {
	b := s.g.Read(s.out, 4096)
	s.g.memset(s.out, 4096, 0)
	return b
}

// ggtt copies a dword of local memory through an entry of the GGTT, or writes it.
func (s *spy) ggtt(addr uint64, write bool) bool {
	s.g.W64(reg(s.fn, gsm+s.own>>12*8), addr&^0xfff|local|present)
	from, to := uint32(s.own|addr&0xffc), uint32(s.va)
	if write {
		from, to = to, from
	}
	return s.run(s.class(), 0, 0x2e<<23|1<<22|1<<21|3, to, 0, from, 0)
}

// ppgtt copies 64 bytes of local memory to the spy's page with the blitter, or back.
func (s *spy) ppgtt(addr uint64, write bool) bool {
	s.g.W64(s.base+2<<12, addr&^(1<<30-1)|ppgttLocal|large|present)
	from, to := addr&(1<<30-1)&^63, uint64(outVA)
	if write {
		from, to = to, from
	}
	return s.copy(from, to, 64)
}

// copy copies n bytes with the blitter between addresses of the spy's page tables.
func (s *spy) copy(from, to uint64, n uint32) bool {
	return s.run(
		s.class(), s.root, memCopy, n-1, 0, 0, 0, uint32(from), uint32(from>>32), uint32(to), uint32(to>>32), 0,
	)
}

func (s *spy) class() uint32 {
	if s.fn >= media {
		return video
	}
	return copyCls
}

// attack tries targets through BAR, GGTT and page tables.
func (s *spy) attack(what string, have uint64, targets []uint64) {
	g, vf := s.g, s.fn%media
	g.t.Helper()
	ways := map[string]func(uint64, bool) bool{"GGTT": s.ggtt, "page tables": s.ppgtt}
	for _, a := range targets {
		inside := a < have
		for name, way := range ways {
			name = fmt.Sprintf("%s: %s at %#x", what, name, a)
			if fault := way(a, false); fault == inside {
				g.t.Errorf("%s: faulted: %v, want %v", name, fault, !inside)
			}
			b := s.found()
			if others(b, vf) {
				g.t.Errorf("%s: VF%d read memory that is not its own", name, vf)
			}
			if !inside && len(bytes.Trim(b, "\x00")) > 0 {
				g.t.Errorf("%s: VF%d read % x", name, vf, bytes.Trim(b, "\x00"))
			}
			if !inside && !way(a, true) {
				g.t.Errorf("%s: a write did not fault", name)
			}
		}
		if a&^7+8 > vram {
			continue // beyond the BAR
		}
		b := g.Read(vfBar2Of(vf)+a, 4)
		if others(b, vf) || (!inside && !bytes.Equal(b, []byte{0xff, 0xff, 0xff, 0xff})) {
			g.t.Errorf("%s: VF%d read % x from its BAR at %#x", what, vf, b, a)
		}
		if !inside {
			g.W32(vfBar2Of(vf)+a, 0x12345678)
		}
	}
	g.ok()
	g.checkOthers(vf, what)
}

// A VF tries hard to reach the local memory of its neighbours and of the PF: through its BAR, the
// GGTT, page tables and the blitter, on both GTs, in each state. It gets not one byte, and changes
// none.
func TestNeighboursMemory(t *testing.T) {
	g := readyLocal(t)
	s, m := g.newSpy(1), g.newSpy(media+1)
	s.attack("as provisioned", quota, targets())
	m.attack("media", quota, few())

	if ok, v := g.call(0, 0x5506, 2, 1); !ok { // a paused neighbour
		t.Fatalf("pause of VF2: %#x", v)
	}
	s.attack("VF2 is paused", quota, few())
	if ok, v := g.call(0, 0x5506, 2, 4); !ok {
		t.Fatalf("FLR of VF2: %#x", v)
	}
	s.attack("VF2 is reset", quota, few())
	g.move(lmemProp)
	s.attack("loaded", quota, few())
	g.mapLMTT(1, 1)
	s.attack("half a quota", lpage, few())
	g.W32(reg(0, mediaGT+lmemCfg), 0)
	if !m.ppgtt(0, false) || others(m.found(), 1) {
		t.Error("without an LMTT, the media GT reads local memory for a VF")
	}
}

// The page tables of a VF cannot be in a neighbour's memory, even if valid tables are there.
func TestNeighboursTables(t *testing.T) {
	g := readyLocal(t)
	s := g.newSpy(1)
	victim := g.newSpy(2)
	if victim.ppgtt(0, false) {
		t.Fatal("VF2's own tables do not work")
	}
	victim.found()
	if s.ppgtt(0, false) {
		t.Fatal("VF1's own tables do not work")
	}
	s.found()
	for _, root := range targets() {
		root &^= 0xfff
		for _, r := range []uint64{root, root | tables, lmemOf(2, tables)} {
			if r == tables {
				continue
			}
			s.run(copyCls, r, memCopy, 63, 0, 0, 0, 0, 0, uint32(outVA&0xffffffff), outVA>>32, 0)
			if b := s.found(); len(bytes.Trim(b, "\x00")) > 0 {
				t.Errorf("with tables at %#x, VF1 read % x", r, b[:64])
			}
		}
	}
	if b := g.Read(victim.out, 64); len(bytes.Trim(b, "\x00")) > 0 {
		t.Error("VF1 used the tables of VF2")
	}
}

// The GuC reads and writes for a VF only in the VF's memory. The VF cannot move the LMTT.
func TestGuCAndNeighboursMemory(t *testing.T) {
	g := readyLocal(t)
	s := g.newSpy(1)
	for _, r := range []uint64{lmemCfg, mediaGT + lmemCfg} {
		g.W32(reg(1, r), 1<<31)
		if v := g.R32(reg(0, r)); v != 1<<31|lmttDir/lmttUnit {
			t.Errorf("VF1 has changed register %#x to %#x", r, v)
		}
	}
	for _, a := range targets() {
		inside := a < quota
		g.W64(reg(1, gsm+s.own>>12*8), a&^0xfff|local|present)
		ok, v := result(g.mbox(1, 0x4100, uint32(s.own), 0, 4096)[0])
		if ok != inside || (!ok && v != 0x80) {
			t.Errorf("hwconfig to local memory at %#x: ok %v, %#x", a, ok, v)
		}
		if inside {
			continue
		}
		for _, key := range []uint32{0x905, 0x906, 0x902, 0x903, 0x900, 0x901} { // CTBs and interrupts
			g.mbox(1, 0x508, key<<16|2, uint32(s.own), 0)
		}
		g.mbox(1, 0x4509, 1)
		g.send(1, 0x4100, 0, 0, 0)
		g.mbox(1, 0x4509, 0)
	}
	g.checkOthers(1, "GuC")
	g.ok()
}

// The PF sees all local memory, with its engines and through its BAR. A VF's addresses lead to the
// VF's pages.
func TestLocalMemory(t *testing.T) {
	g := readyLocal(t)
	if id := g.R32(g.cfg(0, 0)); id != 0xe2128086 {
		t.Errorf("PCI id %#x", id)
	}
	if v := g.R32(reg(0, 0x1083a0)); v != 1<<8 {
		t.Errorf("size of the local memory: %#x, want 1 GiB", v)
	}
	if a := g.mbox(1, 0x5509, 3); a[1] != quota {
		t.Errorf("VF1's quota is %#x, want %#x", a[1], quota)
	}
	s := g.newSpy(2)
	for _, a := range []uint64{0, lpage - 64, lpage, quota - 64} {
		want := bytes.Repeat([]byte{0x5a, byte(a >> 16)}, 32)
		g.Write(s.out, want)
		if s.ppgtt(a, true) {
			t.Fatalf("VF2 cannot write its local memory at %#x", a)
		}
		for name, addr := range map[string]uint64{"PF": bar2 + lmemOf(2, a), "VF": vfBar2Of(2) + a} {
			if got := g.Read(addr, 64); !bytes.Equal(got, want) {
				t.Errorf("at %#x the %s sees % x, want % x", a, name, got, want)
			}
		}
	}
	// an access of a CPU that crosses the end of a page
	g.W64(vfBar2Of(3)+lpage-4, 0x1122334455667788)
	if lo, hi := g.R32(bar2+lmemOf(3, lpage-4)), g.R32(bar2+lmemOf(3, lpage)); lo != 0x55667788 || hi != 0x11223344 {
		t.Errorf("a write over the end of a page: %#x and %#x", lo, hi)
	}
	// a fill with the blitter, through tables of 1 GiB
	if s.run(copyCls, tables, memSet, lpage-1, 0, 0, lpage, 0, 0x77<<24) {
		t.Error("a fill of a page faulted")
	}
	if b := g.Read(bar2+lmemOf(2, lpage), lpage); len(bytes.Trim(b, "w")) != 0 {
		t.Error("the page is not filled")
	}
	va, pa := g.alloc(0, 1)
	g.Write(pa, le(3<<16|2, 0, 1))
	if ok, v := g.call(0, 0x5503, 1, uint32(va), 0, 3); ok || v != 0x50 {
		t.Errorf("a quota of more than there is: ok %v, %#x", ok, v)
	}
}

// The local memory of a paused VF moves to another VF as the PF's driver moves it: the PF's blitter
// copies the pages of the VF to memory of the machine, and from there to the pages of the other VF.
// Not a byte is lost, and the neighbours' memory does not change.
func TestLocalMemoryMoves(t *testing.T) {
	g := readyLocal(t)
	pf := g.newSpy(0)
	_, ram := g.alloc(0, lpage>>12)
	for i := range uint64(lpage >> 12) {
		g.W64(pf.base+5<<12+i*8, ram+i<<12|present)
	}
	for a := uint64(0); a < quota; a += 4096 {
		g.W64(vfBar2Of(1)+a+a>>12%512*8, a|0x5a<<56) // another place in each page
	}
	for _, vf := range []uint32{1, 2} {
		if ok, v := g.call(0, 0x5506, vf, 1); !ok {
			t.Fatalf("pause of VF%d: %#x", vf, v)
		}
	}
	for a := uint64(0); a < quota; a += lpage {
		if pf.copy(lmemOf(1, a), outVA, lpage) || pf.copy(outVA, lmemOf(2, a), lpage) {
			t.Fatalf("a copy of the page at %#x faulted", a)
		}
		want := g.Read(bar2+lmemOf(1, a), lpage)
		if !bytes.Equal(g.Read(bar2+lmemOf(2, a), lpage), want) || !bytes.Contains(want, []byte{0, 0x5a}) {
			t.Errorf("the page at %#x of VF2 is not that of VF1", a)
		}
	}
	for a := uint64(0); a < quota; a += 4096 {
		at := a + a>>12%512*8
		if got, want := g.Read(vfBar2Of(2)+at, 8), le(uint32(a), 0x5a<<24); !bytes.Equal(got, want) {
			t.Fatalf("VF2 reads % x at %#x, want % x", got, at, want)
		}
	}
	for vf := 3; vf <= vfs; vf++ {
		if b := g.Read(bar2+lmemOf(vf, 0), lpage); len(bytes.Trim(b, string([]byte{mark(vf)}))) != 0 {
			t.Errorf("the local memory of VF%d has changed", vf)
		}
	}
}

// A reset of the PF clears local memory. A stream from a device with other local memory is refused.
func TestLocalMemoryState(t *testing.T) {
	g := readyLocal(t)
	file := g.save(t.TempDir())
	for props, want := range map[string]bool{
		lmemProp: true, ",platform=bmg,vram=2G,gts=2": false, ",gts=2": false,
	} {
		if _, ok := load(t.Context(), t, props, file); ok != want {
			t.Errorf("a device with%s loaded the state: %v, want %v", props, ok, want)
		}
	}
	if err := g.QMP("cont", nil); err != nil {
		t.Fatal(err)
	}
	g.W16(g.cfg(0, 0x78), 1<<15) // FLR
	g.plug()
	if b := g.Read(bar2+lmemOf(1, 0), lpage); len(bytes.Trim(b, "\x00")) != 0 {
		t.Error("local memory has data after a reset")
	}
}
