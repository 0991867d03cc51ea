//go:build integration

package qtest

import "testing"

const selector = 0xfd4 // selects an instance of a steered register; bit 31: all

// A steered register has a value in each instance. A write of a masked register changes only the
// bits that its upper half names.
func TestSteeredRegisters(t *testing.T) {
	for _, gt := range []struct {
		name             string
		base, plain, mas uint64
	}{{"primary GT", 0, 0xb158, 0xe4f4}, {"media GT", mediaGT, 0x4418, 0}} {
		g := newGPUWith(t, ",gts=2")
		sel, plain := reg(0, gt.base+selector), reg(0, gt.base+gt.plain)
		at := func(group, instance uint32, r uint64) uint32 {
			g.W32(sel, 1<<31|group<<8|instance)
			return g.R32(r)
		}
		g.W32(plain, 0x1111) // all instances, as after a reset
		g.W32(sel, 2<<8|3)
		g.W32(plain, 0x2222)
		g.W32(sel, 1<<31)
		want := func(what string, one, all uint32, r uint64) {
			t.Helper()
			if v := at(2, 3, r); v != one {
				t.Errorf("%s: %s: instance 2.3 has %#x, want %#x", gt.name, what, v, one)
			}
			for _, i := range [][2]uint32{{0, 0}, {2, 2}, {3, 2}} {
				if v := at(i[0], i[1], r); v != all {
					t.Errorf("%s: %s: instance %v has %#x, want %#x", gt.name, what, i, v, all)
				}
			}
		}
		want("one written", 0x2222, 0x1111, plain)
		g.W32(reg(0, gt.base+0x6000+0x8000), 5) // another register
		want("another written", 0x2222, 0x1111, plain)
		g.move(",gts=2")
		want("moved", 0x2222, 0x1111, plain)
		g.W32(plain, 0x3333)
		want("all written", 0x3333, 0x3333, plain)
		if gt.mas == 0 {
			continue
		}
		r := reg(0, gt.mas)
		g.W32(r, 0x00ff00f0)
		g.W32(sel, 2<<8|3)
		g.W32(r, 0x000f0005)
		g.W32(sel, 1<<31)
		want("masked", 0xf5, 0xf0, r)
		g.W32(r, 0x80008000)
		want("masked, all", 0x80f5, 0x80f0, r)
		g.W16(g.cfg(0, 0x78), 1<<15) // FLR
		g.plug()
		want("after a reset", 0, 0, r)
	}
}

func TestMaskedRegisters(t *testing.T) {
	g := newGPU(t)
	for _, off := range []uint64{
		0x2050, 0x2244, 0x2000 + 0x29c, 0x22000 + 0x244, 0x3ee000 + 0x29c, 0x14800, 0x83a4,
		0xa188,
	} {
		r := reg(0, off)
		if off == 0xa188 { // another register shows the result
			r = reg(0, 0xdfc)
		}
		g.W32(reg(0, off), 0x00030001)
		g.W32(reg(0, off), 0x00040004)
		if v := g.R32(r); v != 5 {
			t.Errorf("register %#x: %#x, want 5", off, v)
		}
	}
	g.W32(reg(0, 0xa090), 0x00030001)
	if v := g.R32(reg(0, 0xa090)); v != 0x00030001 {
		t.Errorf("a register without mask: %#x", v)
	}
}
