//go:build integration

package qtest

import "testing"

// Classes of the media GT's engines.
const (
	video   = 1
	enhance = 2
)

// readyMedia is ready with a media GT. The GuC of that GT has CTBs, too, and has provisioned the
// VFs.
func readyMedia(t *testing.T) *gpu {
	t.Helper()
	g := newGPUWith(t, ",gts=2")
	for gt, base := range []uint64{0, mediaGT} {
		g.loadGuCOf(base)
		g.openCT(gt * media)
		for n := 1; n <= vfs; n++ {
			g.provision(gt*media + n)
			g.openCT(gt*media + n)
		}
	}
	return g
}

// The media GT has its own registers, firmware and engines.
func TestMediaGT(t *testing.T) {
	g := readyMedia(t)
	for off, want := range map[uint64]uint32{
		0xd8c: 30<<22 | 4, 0xc000: 0x8000f0ec, 0x9140: 1<<16 | 1, 0xdfc: 0,
	} {
		if v := g.R32(reg(0, mediaGT+off)); v != want {
			t.Errorf("register %#x of the media GT: %#x, want %#x", off, v, want)
		}
	}
	g.W32(reg(0, mediaGT+0xa540), 1<<16|1)
	if v := g.R32(reg(0, mediaGT+0xd50)); v != 1 {
		t.Errorf("force wake of the video engine: %#x", v)
	}
	if v := g.R32(reg(0, 0xd50)); v != 0 {
		t.Errorf("force wake of the video engine wakes the primary GT: %#x", v)
	}
	if ok, v := g.call(media, 0x4000, 0); !ok || g.R32(reg(0, mediaGT+0xc1dc))&1 == 0 {
		t.Errorf("HuC is not authenticated: ok %v, %#x", ok, v)
	}
	if a := g.mbox(media+1, 0x5509, 0x3000); a[1] != 30<<22|4 {
		t.Errorf("GMD_ID that VF1 asks of the media GuC: %#x", a[1])
	}
	for fn := media; fn <= media+1; fn++ {
		for i, class := range []uint32{video, enhance} {
			w := g.newWork(fn, uint32(i+1), class)
			w.store(uint32(fn))
			g.run(ms)
			if v := w.count(); v != uint32(fn) {
				t.Errorf("fn%d, class %d: stored %d", fn%media, class, v)
			}
		}
	}
	for _, c := range []struct {
		fn    int
		class uint32
	}{{0, video}, {media, render}} {
		if ok, v := g.call(c.fn, 0x4502, 0, 9, c.class, 1, 0, 0, 0, 0, 0, 1<<20, 0); ok || v != 0x64 {
			t.Errorf("fn%d, GT%d has class %d: ok %v, %#x", c.fn%media, c.fn/media, c.class, ok, v)
		}
	}
}

// Actions on one GT do not affect the other.
func TestGTsAreApart(t *testing.T) {
	g := readyMedia(t)
	main, side := g.newWork(1, 1, render), g.newWork(media+1, 1, video)
	main.spin(true)
	side.spin(true)
	g.run(2 * ms)
	if ok, v := g.call(media, 0x5506, 1, 1); !ok {
		t.Fatalf("pause: %#x", v)
	}
	if e := g.events(media, 0x5106); len(e) != 1 || e[0][0] != 1 || e[0][1] != 3 {
		t.Errorf("events of the media GuC: %v, want pause done", e)
	}
	if e := g.events(0, 0x5106); len(e) != 0 {
		t.Errorf("the primary GuC tells of it, too: %v", e)
	}
	m, s := main.count(), side.count()
	g.run(3 * ms)
	if main.count() <= m || side.count() != s {
		t.Errorf("VF1 is paused on the media GT: there %d then %d, on the primary %d then %d",
			s, side.count(), m, main.count())
	}
	g.move(",gts=2")
	g.call(media, 0x5506, 1, 2)
	m = main.count()
	g.run(3 * ms)
	if main.count() <= m || side.count() <= s {
		t.Errorf("after a move and resume: %d then %d, %d then %d", s, side.count(), m, main.count())
	}
	g.W32(reg(0, mediaGT+0x941c), 1<<3)
	m, s = main.count(), side.count()
	g.run(3 * ms)
	if main.count() <= m || side.count() != s {
		t.Errorf(
			"the media GuC was reset: there %d then %d, on the primary %d then %d", s, side.count(), m, main.count(),
		)
	}
	if ok, v := g.call(0, 0x5506, 2, 1); !ok {
		t.Errorf("after a reset of the media GuC the primary refuses: %#x", v)
	}
}

// Interrupts of the media GT set the right bit and have the right identity.
func TestMediaInterrupts(t *testing.T) {
	g := readyMedia(t)
	w := g.newWork(media, 1, enhance)
	w.submit(0x02 << 23)
	g.run(ms)
	for _, c := range []struct{ bank, bit, identity uint32 }{
		{0, 24, 1<<31 | 16<<20 | 4<<16 | 1<<15}, // media GuC
		{1, 31, 1<<31 | 2<<16 | 1},              // vecs0
	} {
		if v := g.R32(reg(0, fnBase+0x18+uint64(c.bank)*4)); v>>c.bit&1 == 0 {
			t.Errorf("bank %d: %#x, want bit %d", c.bank, v, c.bit)
		}
		g.W32(reg(0, fnBase+0x70+uint64(c.bank)*4), 1<<c.bit)
		if v := g.R32(reg(0, fnBase+0x60+uint64(c.bank)*4)); v != c.identity {
			t.Errorf("bank %d, bit %d: identity %#x, want %#x", c.bank, c.bit, v, c.identity)
		}
	}
}
