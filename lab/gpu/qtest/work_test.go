//go:build integration

package qtest

import "time"

// Classes of engines, as the GuC numbers them.
const (
	render  = 0
	copyCls = 3
	compute = 4
)

// A work is a context with a ring and a batch in the GGTT of its function.
type work struct {
	g                *gpu
	fn               int
	id               uint32
	lrca             uint64 // GGTT address of the context image
	image, ring, bat uint64 // RAM
	ringVA, batchVA  uint64
	counter          uint64 // RAM of a dword in which the batch may count
	counterVA        uint64
	tail             uint32
}

// A policy is a KLV of a context: 0x2001 quantum (us), 0x2002 preemption timeout (us), 0x2003
// priority.
type policy struct{ key, value uint32 }

// newWork registers a context of a function.
func (g *gpu) newWork(fn int, id, class uint32, pol ...policy) *work {
	g.t.Helper()
	w := g.newRing(fn, id)
	g.send(fn, 0x20000000|0x4502, 0, id, class, 1, 0, 0, 0, 0, 0, uint32(w.lrca), 0)
	for _, p := range pol {
		g.send(fn, 0x20000000|0x100b, id, p.key<<16|1, p.value)
	}
	g.send(fn, 0x20000000|0x1001, id, 1)
	return w
}

// newRing allocates the memory of a context.
func (g *gpu) newRing(fn int, id uint32) *work {
	w := &work{g: g, fn: fn, id: id}
	lrca, ram := g.alloc(fn, 2)
	w.lrca, w.image = lrca, ram+4096
	w.ringVA, w.ring = g.alloc(fn, 4)
	w.batchVA, w.bat = g.alloc(fn, 1)
	w.counterVA, w.counter = g.alloc(fn, 1)
	for dw, v := range map[uint64]uint32{0x05: 0, 0x07: 0, 0x09: uint32(w.ringVA), 0x0b: 0x3000 | 1} {
		g.W32(w.image+dw*4, v)
	}
	return w
}

// put appends commands to the ring.
func (w *work) put(cmd ...uint32) {
	for len(cmd)%2 != 0 {
		cmd = append(cmd, 0)
	}
	w.g.Write(w.ring+uint64(w.tail), le(cmd...))
	w.tail += uint32(len(cmd)) * 4
}

// submit appends commands to the ring and informs the GuC.
func (w *work) submit(cmd ...uint32) {
	w.put(cmd...)
	w.g.W32(w.image+0x07*4, w.tail)
	w.g.send(w.fn, 0x20000000|0x1000, w.id)
}

// batch writes the batch and submits a jump to it. Batches here lie in the GGTT.
func (w *work) batch(cmd ...uint32) {
	w.g.Write(w.bat, le(cmd...))
	w.submit(0x31<<23|1, uint32(w.batchVA), 0)
}

// spin submits an endless loop that adds 1 to the counter. With preempt, each turn can be
// preempted.
func (w *work) spin(preempt bool) {
	cmd := []uint32{0x2f<<23 | 1<<22 | 5<<8 | 1, uint32(w.counterVA), 0}
	if preempt {
		cmd = append(cmd, 0x05<<23)
	}
	w.batch(append(cmd, 0x31<<23|1, uint32(w.batchVA), 0)...)
}

func (w *work) count() uint32 { return w.g.R32(w.counter) }

// store submits one store to the counter.
func (w *work) store(v uint32) {
	w.submit(0x20<<23|1<<22|2, uint32(w.counterVA), 0, v)
}

// run advances the clock by d, in steps of the scheduler's tick.
func (g *gpu) run(d time.Duration) {
	for ; d > 0; d -= time.Millisecond {
		g.Step(time.Millisecond)
	}
	g.ok()
}
