//go:build integration

package qtest

import "testing"

// A parallel is a context with a ring on each of two copy engines, and a work queue.
type parallel struct {
	rings  [2]*work
	id     uint32
	desc   uint64 // RAM of the work queue's descriptor; its items begin 1024 bytes later
	wqTail uint32
}

const wqSize = 1024

// newParallel registers a parallel context of a function and enables it.
func (g *gpu) newParallel(fn int, id uint32) *parallel {
	g.t.Helper()
	p := &parallel{id: id}
	descVA, desc := g.alloc(fn, 1)
	p.desc = desc
	msg := []uint32{
		0x4601, 1, id, copyCls, 1, uint32(descVA), 0, uint32(descVA) + 1024, 0, wqSize, 2,
	}
	for i := range p.rings {
		w := g.newRing(fn, id)
		p.rings[i] = w
		msg = append(msg, uint32(w.lrca), 0)
	}
	if ok, v := g.call(fn, msg...); !ok {
		g.t.Fatalf("a parallel context is refused: %#x", v)
	}
	g.send(fn, 0x20000000|0x1001, id, 1)
	return p
}

// submit appends commands to both rings, and an item to the work queue.
func (p *parallel) submit(cmds [2][]uint32) {
	g := p.rings[0].g
	for i, w := range p.rings {
		w.put(cmds[i]...)
	}
	const dwords = 5
	if wqSize-p.wqTail < dwords*4 { // fill the queue up to its end
		g.W32(p.desc+1024+uint64(p.wqTail), ((wqSize-p.wqTail)/4-1)<<16|4)
		p.wqTail = 0
	}
	g.Write(p.desc+1024+uint64(p.wqTail), le(
		(dwords-1)<<16|5, uint32(p.rings[0].lrca), p.rings[0].tail/8<<18|p.id, 0, p.rings[1].tail/8))
	p.wqTail += dwords * 4
	g.W32(p.desc+4, p.wqTail)
	g.send(p.rings[0].fn, 0x20000000|0x1000, p.id)
}

// store submits a store to the counter of each ring.
func (p *parallel) store(v uint32) {
	var cmds [2][]uint32
	for i, w := range p.rings {
		cmds[i] = []uint32{0x20<<23 | 1<<22 | 2, uint32(w.counterVA), 0, v + uint32(i)}
	}
	p.submit(cmds)
}

func (p *parallel) check(what string, v uint32) {
	t := p.rings[0].g.t
	t.Helper()
	for i, w := range p.rings {
		if got := w.count(); got != v+uint32(i) {
			t.Errorf("%s: ring %d stored %d, want %d", what, i, got, v+uint32(i))
		}
	}
}

// All rings of a parallel context run, each on its engine. The driver gets one event for the whole
// context.
func TestParallelContext(t *testing.T) {
	for _, fn := range []int{0, 1} {
		g := ready(t)
		p := g.newParallel(fn, 9)
		for i := range uint32(60) { // the queue wraps around
			p.store(100 + i*2)
			g.run(ms)
			p.check("run", 100+i*2)
		}
		if h, s := g.R32(p.desc), g.R32(p.desc+12); h != p.wqTail || s != 0 {
			t.Errorf("work queue: head %d, tail %d, status %d", h, p.wqTail, s)
		}
		// Each ring waits for the other's store, so they can only go on together.
		var both [2][]uint32
		for i, w := range p.rings {
			other := p.rings[1-i]
			both[i] = []uint32{
				0x20<<23 | 1<<22 | 2, uint32(other.counterVA) + 8, 0, 7,
				0x1c<<23 | 1<<22 | 1<<15 | 4<<12 | 2, 7, uint32(w.counterVA) + 8, 0,
				0x20<<23 | 1<<22 | 2, uint32(w.counterVA), 0, 1000 + uint32(i),
			}
		}
		p.submit(both)
		g.run(3 * ms)
		p.check("together", 1000)

		g.recv(fn)
		g.ct[fn].pending = nil
		p.spin()
		g.run(2 * ms)
		g.move("")
		n := [2]uint32{p.rings[0].count(), p.rings[1].count()}
		g.run(2 * ms)
		for i, w := range p.rings {
			if w.count() <= n[i] {
				t.Errorf("ring %d does not go on after a move: %d, then %d", i, n[i], w.count())
			}
		}
		g.send(fn, 0x20000000|0x1001, p.id, 0)
		g.run(2 * ms)
		if e := g.events(fn, 0x1002); len(e) != 1 || e[0][0] != p.id || e[0][1] != 0 {
			t.Errorf("disabled: events %v, want one", e)
		}
		n = [2]uint32{p.rings[0].count(), p.rings[1].count()}
		g.run(2 * ms)
		p.same("a disabled ring went on", n)
		g.send(fn, 0x20000000|0x1001, p.id, 1)
		g.run(ms)
		g.Write(p.rings[1].bat, le(0x20<<23|1<<22|2, 0xfff00000, 0, 0)) // no memory at this address
		g.run(2 * ms)
		if e := g.events(fn, 0x1008); len(e) != 1 || e[0][0] != p.id {
			t.Errorf("one ring faults: resets %v, want one", e)
		}
		n = [2]uint32{p.rings[0].count(), p.rings[1].count()}
		g.run(2 * ms)
		p.same("a ring went on when the other one was reset", n)
		if ok, v := g.call(fn, 0x4503, p.id); !ok {
			t.Errorf("deregistration: %#x", v)
		}
		if ok, v := g.call(fn, 0x1000, p.id); ok || v != 0x100 {
			t.Errorf("the context is still there: ok %v, %#x", ok, v)
		}
	}
}

func (p *parallel) same(what string, n [2]uint32) {
	t := p.rings[0].g.t
	t.Helper()
	for i, w := range p.rings {
		if w.count() != n[i] {
			t.Errorf("%s: ring %d, %d, then %d", what, i, n[i], w.count())
		}
	}
}

// spin makes both rings count without end.
func (p *parallel) spin() {
	var cmds [2][]uint32
	for i, w := range p.rings {
		w.g.Write(w.bat, le(0x2f<<23|1<<22|5<<8|1, uint32(w.counterVA), 0, 0x05<<23, 0x31<<23|1, uint32(w.batchVA), 0))
		cmds[i] = []uint32{0x31<<23 | 1, uint32(w.batchVA), 0}
	}
	p.submit(cmds)
}

func TestParallelRefusals(t *testing.T) {
	g := ready(t)
	for _, c := range []struct {
		name string
		msg  []uint32
		err  uint32
	}{
		{"more rings than engines", []uint32{copyCls, 1, 0, 0, 0, 0, 1024, 3, 0, 0, 0, 0, 0, 0}, 0x64},
		{"more rings than the message has", []uint32{copyCls, 1, 0, 0, 0, 0, 1024, 2, 0, 0}, 0x60},
		{"more rings than there can be", []uint32{copyCls, 1, 0, 0, 0, 0, 1024, 0xffffffff, 0, 0}, 0x60},
		{"no ring", []uint32{copyCls, 1, 0, 0, 0, 0, 1024, 0, 0, 0}, 0x60},
		{"no work queue", []uint32{copyCls, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0}, 0x60},
	} {
		if ok, v := g.call(1, append([]uint32{0x4601, 0, 3}, c.msg...)...); ok || v != c.err {
			t.Errorf("%s: ok %v, %#x; want error %#x", c.name, ok, v, c.err)
		}
	}
	p := g.newParallel(1, 3)
	g.W32(p.desc+1024, 0x12345678)
	g.W32(p.desc+4, 20)
	g.send(1, 0x20000000|0x1000, 3)
	if s := g.R32(p.desc + 12); s != 3 {
		t.Errorf("an item that is none: status of the work queue %d, want 3", s)
	}
}
