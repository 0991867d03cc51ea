//go:build integration

package qtest

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

// A dice returns the bytes of a fuzzer's input one by one.
type dice struct{ b []byte }

func (d *dice) byte() byte {
	if len(d.b) == 0 {
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

// word returns a number. Depending on its first byte, it is small, a power of two, an address in
// use, or arbitrary.
func (d *dice) word(g *gpu) uint32 {
	switch k := d.byte(); k & 7 {
	case 0, 1:
		return uint32(k >> 3)
	case 2:
		return 1 << (k >> 3)
	case 3:
		return ^uint32(0) >> (k >> 3)
	case 4, 5:
		return uint32(1<<20 + uint64(d.byte())<<12%(g.ggtt-1<<20) + uint64(k>>3)*4)
	}
	return binary.LittleEndian.Uint32([]byte{d.byte(), d.byte(), d.byte(), d.byte()})
}

func (d *dice) words(g *gpu, n int) []uint32 {
	w := make([]uint32, n)
	for i := range w {
		w[i] = d.word(g)
	}
	return w
}

var fuzzActions = []uint32{
	0x3, 0x506, 0x508, 0x509, 0x1000, 0x1001, 0x100b, 0x3003, 0x4100, 0x4502, 0x4503, 0x4509, 0x4601, 0x5101, 0x5103,
	0x5500, 0x5502, 0x5503, 0x5506, 0x5507, 0x5508, 0x5509, 0x550b, 0x1550b, 0x550c, 0x550d, 0x550f, 0x7000, 0x7002,
}

var fuzzCommands = []uint32{
	0, 0x02 << 23, 0x05 << 23, 0x08 << 23, 0x0a << 23, 0x1a<<23 | 7, 0x1c<<23 | 1<<22 | 2, 0x20<<23 | 1<<22 | 2,
	0x22<<23 | 1, 0x24<<23 | 1<<22 | 2, 0x26<<23 | 3, 0x29<<23 | 1<<22 | 2, 0x2a<<23 | 1, 0x2e<<23 | 1<<22 | 3,
	0x2f<<23 | 1<<22 | 7<<8 | 9, 0x31<<23 | 1, 0x31<<23 | 1<<22 | 1, 0x31<<23 | 1<<8 | 1, 0x36<<23 | 1<<22 | 2,
	2<<29 | 0x42<<22 | 8, 2<<29 | 0x44<<22 | 14, 2<<29 | 0x5a<<22 | 7, 2<<29 | 0x5a<<22 | 1<<17 | 7,
	2<<29 | 0x5b<<22 | 5,
	0x7a000004,
}

var fuzzRegs = []uint64{
	0x941c, 0xc314, 0xc000, 0xa188, 0x138124, 0x101010, 0xcf80, fnBase + 0x08, fnBase + 0x18, fnBase + 0x70,
	fnBase + 0x1f0, fnBase + 0x240, fnBase + 0x304, fnBase + 0x640, fnBase + 0x5f0, fnBase + 0x3ffc,
	mediaGT + 0x941c, mediaGT + 0xc314, mediaGT + 0xa540, mediaGT + selector, selector, 0xe4f4, 0xb158, fnBase + 0x74,
	lmemCfg, mediaGT + lmemCfg,
}

// step does one thing that a malicious guest might do.
func (d *dice) step(g *gpu, w []*work, p *parallel) {
	fn := int(d.byte())
	fn = fn%(vfs+1) + fn>>7*media
	x := w[int(d.byte())%len(w)]
	switch d.byte() % 14 {
	case 0:
		g.W32(reg(fn, fuzzRegs[int(d.byte())%len(fuzzRegs)]), d.word(g))
	case 1:
		g.W32(reg(fn, uint64(d.word(g))%(16<<20)&^3), d.word(g))
	case 2:
		g.mbox(fn, append([]uint32{fuzzActions[int(d.byte())%len(fuzzActions)]}, d.words(g, 3)...)...)
	case 3, 4:
		a := fuzzActions[int(d.byte())%len(fuzzActions)]
		g.send(fn, append([]uint32{a}, d.words(g, int(d.byte())%16)...)...)
	case 5, 6:
		c := []uint32{fuzzCommands[int(d.byte())%len(fuzzCommands)] ^ uint32(d.byte()&1)<<(d.byte()%32)}
		x.tail %= 0x2000
		x.submit(append(c, d.words(g, int(d.byte())%12)...)...)
	case 7:
		g.Write(x.bat, le(append([]uint32{fuzzCommands[int(d.byte())%len(fuzzCommands)]}, d.words(g, 8)...)...))
		x.tail %= 0x2000
		x.submit(0x31<<23|1, uint32(x.batchVA), 0)
	case 8:
		g.W32(x.image+uint64(d.byte()%0x60)*4, d.word(g))
		g.bell(x.fn)
	case 9:
		g.W32(g.ct[fn].hdesc+uint64(d.byte()%3)*4, d.word(g))
		g.W32(g.ct[fn].gdesc+uint64(d.byte()%3)*4, d.word(g))
		g.W32(g.ct[fn].hbuf+uint64(d.byte())*4, d.word(g))
		g.bell(fn)
	case 10:
		g.W64(reg(fn, gsm+uint64(d.word(g))%(8<<20)&^7), uint64(d.word(g))<<12|uint64(d.byte()))
	case 12:
		g.W32(p.desc+uint64(d.byte()%4)*4, d.word(g))
		g.W32(p.desc+1024+uint64(d.byte())*4, d.word(g))
		g.send(p.rings[0].fn, 0x1000, p.id)
	case 13: // page tables, the LMTT, or what else is there
		g.W64(bar2+uint64(d.byte()%vfs)*vram+uint64(d.word(g))%(128<<20)&^7, uint64(d.word(g))<<12|uint64(d.byte()))
	case 11:
		g.Step(time.Microsecond + time.Duration(d.byte())*100*time.Microsecond)
	}
}

// fuzzBytes is the greatest length of an input. With sanitizers on a busy machine, a longer input
// could take 10 s, and the fuzzer then gives up.
const fuzzBytes = 256

// FuzzDevice plays guests that write anything anywhere. QEMU must survive; a sanitizer's finding
// ends it.
func FuzzDevice(f *testing.F) {
	rnd := rand.New(rand.NewPCG(16, 10013))
	for range 40 {
		b := make([]byte, fuzzBytes)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		f.Add(b)
	}
	for i := range byte(14) {
		f.Add([]byte{i, i, i, i, i, i, i, i, 1, 0, 11, 50, 2, 1, i, 7, 7, 7, 7, 7, 7, 7, 7, 7})
	}
	g := newGPUWith(f, lmemProp)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), fuzzBytes)]
		g.t = t
		g.W16(g.cfg(0, 0x78), 1<<15) // FLR
		g.ram, g.ggtt, g.ct = ramBase, 1<<20, ctbs{}
		g.plug()
		var w []*work
		for gt, base := range []uint64{0, mediaGT} {
			g.loadGuCOf(base)
			g.openCT(gt * media)
			for n := range vfs + 1 {
				fn := gt*media + n
				g.provision(fn, 0x8a01<<16|1, 2, 0x8a02<<16|1, 4000)
				if n > 0 {
					g.openCT(fn)
				}
				classes := [2][2]uint32{{render, copyCls}, {video, enhance}}[gt]
				w = append(w, g.newWork(fn, 1, classes[0]), g.newWork(fn, 2, classes[1]))
			}
		}
		p := g.newParallel(1, 3)
		for d := (&dice{b}); len(d.b) > 0; {
			d.step(g, w, p)
		}
		g.run(5 * time.Millisecond)
		g.R32(reg(0, 0xc000))
		g.ok()
	})
}

// BenchmarkRead measures one read of a VF's register in the device. It uses a long read, because
// that is one message of the protocol.
func BenchmarkRead(b *testing.B) {
	g := newGPU(b)
	const n = 0x400 / 4
	var regs int
	for b.Loop() {
		g.Read(reg(1, fnBase), n*4)
		regs += n
	}
	g.ok()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(regs), "ns/register")
}
