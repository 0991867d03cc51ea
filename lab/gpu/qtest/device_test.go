//go:build integration

package qtest

import (
	"testing"
	"time"
)

func TestMailboxRefusals(t *testing.T) {
	g := newGPU(t)
	if a := g.mbox(0, 0x4100); a[0] != 0x4100 {
		t.Errorf("a GuC that is not loaded answered %#x", a[0])
	}
	g.loadGuC()
	g.openCT(0)
	for _, c := range []struct {
		name string
		fn   int
		msg  []uint32
		err  uint32
	}{
		{"unknown action", 0, []uint32{0x7777}, 0x30},
		{"an event is no request", 0, []uint32{1<<28 | 0x508}, 0x04},
		{"hwconfig into too small a buffer", 0, []uint32{0x4100, 1 << 20, 0, 4}, 0x60},
		{"hwconfig to an address without an entry", 0, []uint32{0x4100, 0xff000000, 0, 4096}, 0x80},
		{"CTB address beyond the GGTT", 0, []uint32{0x508, 0x902<<16 | 2, 0, 1}, 0x80},
		{"CTB size with a wrong length", 0, []uint32{0x508, 0x904<<16 | 2, 4096, 0}, 0x103},
		{"CTB size that is no number of dwords", 0, []uint32{0x508, 0x904<<16 | 1, 4097, 0}, 0x50},
		{"CTBs of a VF without provisioning", 1, []uint32{0x508, 0x902<<16 | 2, 1 << 20, 0}, 0x0d},
		{"a version from the future", 1, []uint32{0x5500, 2 << 16}, 0x0b},
		{"an unknown key", 1, []uint32{0x5509, 0x7fff}, 0x105},
		{"PF asks what only VFs may", 0, []uint32{0x5500, 0}, 0x40},
	} {
		if ok, v := result(g.mbox(c.fn, c.msg...)[0]); ok || v != c.err {
			t.Errorf("%s: ok %v, %#x; want error %#x", c.name, ok, v, c.err)
		}
	}
	if a := g.mbox(1, 0x5500, 0); a[1] != 1<<16|27<<8 {
		t.Errorf("VF interface version %#x", a[1])
	}
}

func TestActionRefusals(t *testing.T) {
	g := ready(t)
	for _, c := range []struct {
		name string
		fn   int
		msg  []uint32
		err  uint32
	}{
		{"unknown action", 0, []uint32{0x7777}, 0x30},
		{"too short", 0, []uint32{0x5503, 1, 0}, 0x60},
		{"too long", 0, []uint32{0x1000, 1, 2, 3}, 0x60},
		{"a VF configures itself", 1, []uint32{0x5503, 1, 0, 0, 0}, 0x40},
		{"a VF controls another", 1, []uint32{0x5506, 2, 1}, 0x40},
		{"a VF saves another", 1, []uint32{0x550b, 2, 0, 0, 0}, 0x40},
		{"the PF relays to itself", 0, []uint32{0x5101, 0, 1, 2}, 0x0c},
		{"control of a VF that is not there", 0, []uint32{0x5506, 9, 1}, 0x0c},
		{"configuration of a VF that is not there", 0, []uint32{0x5503, 9, 0, 0, 0}, 0x0c},
		{"unknown control", 0, []uint32{0x5506, 1, 9}, 0x60},
		{"save of a VF that runs", 0, []uint32{0x550b, 1, 1 << 20, 0, 64}, 0x0a},
		{"KLVs at an address without an entry", 0, []uint32{0x5503, 1, 0xff000000, 0, 3}, 0x80},
		{"more KLVs than there can be", 0, []uint32{0x5503, 1, 1 << 20, 0, 0xffffffff}, 0x102},
		{"unknown context", 1, []uint32{0x1000, 5}, 0x100},
		{"context beyond the VF's", 1, []uint32{0x4502, 0, 256, 0, 1, 0, 0, 0, 0, 0, 1 << 20, 0}, 0x61},
		{"unknown class", 1, []uint32{0x4502, 0, 1, 99, 1, 0, 0, 0, 0, 0, 1 << 20, 0}, 0x64},
		{"engine that is not there", 1, []uint32{0x4502, 0, 1, render, 2, 0, 0, 0, 0, 0, 1 << 20, 0}, 0x64},
	} {
		if ok, v := g.call(c.fn, c.msg...); ok || v != c.err {
			t.Errorf("%s: ok %v, %#x; want error %#x", c.name, ok, v, c.err)
		}
	}
	if ok, size := g.call(0, 0x550b, 1, 0, 0, 0); !ok || size == 0 {
		t.Errorf("size of the state of a VF that runs: ok %v, %#x", ok, size)
	}
	va, pa := g.alloc(0, 1)
	g.Write(pa, le(0x8a01<<16|9, 1))
	if ok, v := g.call(0, 0x5503, 1, uint32(va), 0, 2); ok || v != 0x103 {
		t.Errorf("a KLV longer than its buffer: ok %v, %#x", ok, v)
	}
}

// After a wrong descriptor or message, the device stops using the CTB and sets an error in its
// status.
func TestBrokenCTB(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(g *gpu)
		status uint32
	}{
		{"tail beyond the ring", func(g *gpu) { g.W32(g.ct[1].hdesc+4, 1<<20) }, 1},
		{"head beyond the ring", func(g *gpu) { g.W32(g.ct[1].hdesc, 0xffffffff) }, 1},
		{"message longer than what is there", func(g *gpu) {
			g.W32(g.ct[1].hbuf, 0xff)
			g.W32(g.ct[1].hdesc+4, 2)
		}, 2},
	} {
		g := ready(t)
		c.spoil(g)
		g.bell(1)
		if s := g.R32(g.ct[1].hdesc + 8); s != c.status {
			t.Errorf("%s: status %#x, want %#x", c.name, s, c.status)
		}
		if ok, _ := g.call(0, 0x5506, 2, 1); !ok {
			t.Errorf("%s: the PF's CTB is broken, too", c.name)
		}
	}
}

// A function reaches only its own memory. An access through a GGTT entry of another function
// faults.
func TestIsolation(t *testing.T) {
	g := ready(t)
	va, pa := g.alloc(0, 1)
	w := g.newWork(1, 1, render)
	w.submit(0x20<<23|1<<22|2, uint32(va), 0, 0xdead)
	g.run(time.Millisecond)
	if v := g.R32(pa); v != 0 {
		t.Errorf("VF1 wrote %#x into memory of the PF", v)
	}
	if e := g.events(1, 0x6000); len(e) != 1 || e[0][0] != 1 {
		t.Errorf("memory errors %v, want one of context 1", e)
	}
	if e := g.events(1, 0x1008); len(e) != 1 || e[0][0] != 1 {
		t.Errorf("resets %v, want one of context 1", e)
	}
	pte := bar0 + gsm + va>>12*8
	g.W64(reg(1, gsm+va>>12*8), pa|1)
	if got := g.Read(pte, 8); got[0]&0xfc != 0 || got[1]&0xf != 0 {
		t.Errorf("VF1 took the PF's entry: % x", got)
	}
}

// A context with an address space whose page is missing waits for the driver's answer to the page
// fault. Then the command runs again, or the context is reset.
func TestPageFault(t *testing.T) {
	g := ready(t)
	const id, asid, va = 0x123, 7, 0x1000
	w := g.newRing(0, id)
	var table [5]uint64
	for i := range table {
		_, table[i] = g.alloc(0, 1)
	}
	_, page := g.alloc(0, 1)
	for i := range table[:4] {
		g.W64(table[i], table[i+1]|3)
	}
	for dw, v := range map[uint64]uint32{0x2f: asid, 0x31: uint32(table[0] >> 32), 0x33: uint32(table[0])} {
		g.W32(w.image+dw*4, v)
	}
	g.send(0, 0x20000000|0x4502, 0, id, copyCls, 1, 0, 0, 0, 0, 0, uint32(w.lrca), 0)
	g.send(0, 0x20000000|0x1001, id, 1)
	store := func(what string, kind uint32) {
		t.Helper()
		w.submit(0x20<<23|2, va, 0, 0xabcd)
		g.run(3 * time.Millisecond)
		e := g.events(0, 0x6002)
		if len(e) != 1 || len(e[0]) != 4 || e[0][0] != id&0xf<<28|copyCls<<25 || e[0][1] != asid<<12|id>>4 ||
			e[0][2] != va|kind<<2|1 || e[0][3] != 0 {
			t.Fatalf("%s: page faults %#x", what, e)
		}
	}
	answer := func(failed uint32) {
		g.send(0, 0x20000000|0x6003, asid<<12|failed<<1|1, id<<16|copyCls<<13)
		g.run(time.Millisecond)
	}

	store("no page", 0)
	g.W64(table[4]+va>>12*8, page|3)
	answer(0)
	if v := g.R32(page); v != 0xabcd {
		t.Errorf("after the answer the page has %#x", v)
	}
	g.W64(table[4]+va>>12*8, page|1)
	store("a page to read", 1)
	answer(1)
	if e := g.events(0, 0x6000); len(e) != 1 || e[0][0] != id {
		t.Errorf("memory errors %v, want one of the context", e)
	}
	answer(0) // nothing waits for it
}

// A reset during work gives a device in its first state.
func TestResetGivesFreshDevice(t *testing.T) {
	g := ready(t)
	w := g.newWork(1, 1, render)
	w.spin(false)
	g.newWork(0, 1, copyCls).spin(true)
	g.call(0, 0x5506, 2, 1)
	g.run(2 * time.Millisecond)
	before := w.count()
	if before == 0 {
		t.Fatal("the spinner did not run")
	}
	g.W16(g.cfg(0, 0x78), 1<<15) // FLR
	g.run(2 * time.Millisecond)
	if g.W16(g.cfg(0, 0x04), 6); g.R32(g.cfg(0, sriov+0x08))&1 != 0 {
		t.Error("VFs are enabled after an FLR of the PF")
	}
	if after := w.count(); after > before+64 {
		t.Errorf("work went on: %d, then %d", before, after)
	}
	g.plug()
	fresh := newGPU(t)
	for _, off := range []uint64{
		0xc000, 0xd8c, 0xdfc, 0x190018, 0x19001c, 0x1f0 + fnBase, 0x240 + fnBase, 0x640 + fnBase,
	} {
		if a, b := g.R32(reg(0, off)), fresh.R32(reg(0, off)); a != b {
			t.Errorf("register %#x: %#x, in a new device %#x", off, a, b)
		}
	}
	g.loadGuC()
	g.ct = ctbs{}
	g.openCT(0)
	if ok, v := g.call(0, 0x5506, 1, 2); !ok {
		t.Errorf("after the reset the GuC refuses: %#x", v)
	}
}

func TestSaveRestore(t *testing.T) {
	g := ready(t)
	w := g.newWork(1, 7, render)
	w.spin(true)
	g.run(3 * time.Millisecond)
	pause := func(vf int) {
		t.Helper()
		if ok, v := g.call(0, 0x5506, uint32(vf), 1); !ok {
			t.Fatalf("pause of VF%d: %#x", vf, v)
		}
		if e := g.events(0, 0x5106); len(e) != 1 || e[0][1] != 3 {
			t.Fatalf("events %v, want pause done", e)
		}
	}
	pause(1)
	n := w.count()
	g.run(3 * time.Millisecond)
	if m := w.count(); m != n {
		t.Errorf("a paused VF went on: %d, then %d", n, m)
	}
	ok, size := g.call(0, 0x550b, 1, 0, 0, 0)
	if !ok || size == 0 || size > 1024 {
		t.Fatalf("size of the state: ok %v, %d", ok, size)
	}
	va, pa := g.alloc(0, 1)
	if ok, v := g.call(0, 0x550b, 1, uint32(va), 0, size-1); ok {
		t.Errorf("saved into too small a buffer: %#x", v)
	}
	if ok, v := g.call(0, 0x550b, 1, uint32(va), 0, size); !ok || v != size {
		t.Fatalf("save: ok %v, %d", ok, v)
	}
	blob := g.Read(pa, int(size)*4)
	if ok, v := g.call(0, 0x5506, 1, 4); !ok {
		t.Fatalf("FLR: %#x", v)
	}
	g.events(0, 0x5106)
	pause(1)
	g.W32(pa, 0)
	if ok, v := g.call(0, 1<<16|0x550b, 1, uint32(va), 0, size); ok {
		t.Errorf("restored a blob that is none: %#x", v)
	}
	g.Write(pa, blob)
	g.W32(pa+4, 1<<30)
	if ok, v := g.call(0, 1<<16|0x550b, 1, uint32(va), 0, size); ok {
		t.Errorf("restored 2^30 contexts: %#x", v)
	}
	g.Write(pa, blob)
	if ok, v := g.call(0, 1<<16|0x550b, 1, uint32(va), 0, size); !ok {
		t.Fatalf("restore: %#x", v)
	}
	g.call(0, 0x5506, 1, 2)
	g.run(3 * time.Millisecond)
	if m := w.count(); m != n {
		t.Errorf("a restored VF runs before it said that it is fixed up: %d, then %d", n, m)
	}
	if ok, _ := result(g.mbox(1, 1<<16|0x5508)[0]); !ok {
		t.Error("RESFIX_DONE was refused")
	}
	if e := g.events(0, 0x5106); len(e) != 1 || e[0][1] != 4 {
		t.Errorf("events %v, want fix-up done", e)
	}
	g.run(3 * time.Millisecond)
	if m := w.count(); m <= n {
		t.Errorf("the work of the restored VF does not go on: %d, then %d", n, m)
	}
}
