//go:build integration

package qtest

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// near reports whether got is within percent of want.
func near(got, want, percent float64) bool {
	return got >= want*(1-percent/100) && got <= want*(1+percent/100)
}

// Functions share an engine in proportion to their execution quanta.
func TestSharesFollowQuanta(t *testing.T) {
	g := ready(t)
	quanta := []uint32{2, 2, 4, 8}
	var w []*work
	for fn, q := range quanta {
		g.provision(fn, 0x8a01<<16|1, q, 0x8a02<<16|1, 2*q*1000)
	}
	for fn := range quanta {
		w = append(w, g.newWork(fn, 1, render))
	}
	for fn := range quanta {
		w[fn].spin(true)
	}
	g.run(320 * ms)
	sum, all := 0.0, 0.0
	for fn, q := range quanta {
		sum += float64(q)
		all += float64(w[fn].count())
	}
	for fn, q := range quanta {
		if got, want := float64(w[fn].count())/all, float64(q)/sum; !near(got, want, 10) {
			t.Errorf("fn%d with a quantum of %d ms has a share of %.3f, want %.3f", fn, q, got, want)
		}
	}
}

// A function gets no extra time for a pause in which nothing could run.
func TestPauseIsNoDebt(t *testing.T) {
	g := ready(t)
	w := g.newWork(1, 1, render)
	w.spin(true)
	g.run(10 * ms)
	n := w.count()
	g.run(10 * ms)
	usual := w.count() - n
	g.call(0, 0x5506, 1, 1)
	n = w.count()
	g.Step(5 * time.Second)
	g.run(2 * ms)
	g.call(0, 0x5506, 1, 2)
	g.run(10 * ms)
	if got := w.count() - n; !near(float64(got), float64(usual), 20) {
		t.Errorf("%d turns in the 10 ms after a pause, %d in those before", got, usual)
	}
}

// A device without work sets no timer, so that it costs the host no time.
func TestIdleSetsNoTimer(t *testing.T) {
	g := ready(t)
	for fn := range 4 {
		g.provision(fn, 0x8a01<<16|1, 2)
	}
	meta, _ := g.alloc(0, 1)
	act, _ := g.alloc(0, 16)
	g.call(0, 0x550d, 3, uint32(meta), 0, uint32(act), 0)
	w := g.newWork(1, 1, render)
	timers := func() (n int) { // in 100 ms; the PC's own timers count, too
		for d := time.Duration(0); d < 100*ms; n++ {
			d += g.StepToTimer()
		}
		g.ok()
		return n
	}
	idle := func(when string) {
		t.Helper()
		g.run(20 * ms)
		if n := timers(); n > 20 {
			t.Errorf("%s: %d timers in 100 ms", when, n)
		}
	}
	idle("nothing was submitted")
	w.spin(true)
	if n := timers(); n < 80 {
		t.Errorf("a context runs: %d timers in 100 ms, so the test does not see those of the device", n)
	}
	g.call(0, 0x5506, 1, 1)
	idle("the only function with work is paused")
	g.call(0, 0x5506, 1, 2)
	g.run(2 * ms)
	g.call(0, 0x5506, 1, 4)
	idle("the function with work was reset")
	g.openCT(1)
	w = g.newWork(1, 1, render)
	w.loop(50)
	g.run(20 * ms)
	if w.count() != 50 {
		t.Fatalf("the work is not done: %d", w.count())
	}
	idle("the work is done")
}

// A function with normal priority keeps its slice without work, too.
func TestNormalPriorityKeepsIdleSlices(t *testing.T) {
	count := func(prio uint32) uint32 {
		g := ready(t)
		for fn := range 4 {
			g.provision(fn, 0x8a01<<16|1, 4)
		}
		g.policy(0x8001, prio) // SCHED_IF_IDLE
		a, b := g.newWork(1, 1, render), g.newWork(2, 1, render)
		a.spin(true)
		b.spin(true)
		g.run(160 * ms)
		return a.count() + b.count()
	}
	low, normal := count(0), count(1)
	// PF and VF3 keep half of the time and are idle.
	if r := float64(normal) / float64(low); !near(r, 0.5, 12) {
		t.Errorf("with idle slices the engine works %.2f of the time, want 0.5", r)
	}
}

// Only the PF can have its own priority.
func TestPriorityOfOneVF(t *testing.T) {
	g := ready(t)
	va, pa := g.alloc(0, 1)
	g.Write(pa, le(0x8a0c<<16|1, 1))
	for fn, want := range []bool{true, false} {
		if ok, v := g.call(0, 0x5503, uint32(fn), uint32(va), 0, 2); ok != want {
			t.Errorf("normal priority for function %d: %t (%#x), want %t", fn, ok, v, want)
		}
	}
}

// A context that is not preempted within its timeout is reset. This happens after the quantum and
// the timeout, not before.
func TestPreemptionTimeout(t *testing.T) {
	g := ready(t)
	for fn := range 3 {
		g.provision(fn, 0x8a01<<16|1, 5, 0x8a02<<16|1, 10000)
	}
	bad, good := g.newWork(1, 1, render), g.newWork(2, 1, render)
	bad.spin(false)
	good.spin(true)
	g.run(12 * ms)
	if e := g.events(1, 0x1008); len(e) != 0 {
		t.Fatalf("reset after 12 ms: %v", e)
	}
	if good.count() != 0 {
		t.Error("the other function ran while the first held the engine")
	}
	g.run(6 * ms)
	if e := g.events(1, 0x1008); len(e) != 1 || e[0][0] != 1 {
		t.Errorf("resets after 18 ms: %v, want one of context 1", e)
	}
	n := bad.count()
	g.run(10 * ms)
	if bad.count() != n {
		t.Error("a context that was reset went on")
	}
	if good.count() == 0 {
		t.Error("the other function got nothing")
	}
	if e := g.events(2, 0x1008); len(e) != 0 {
		t.Errorf("the innocent was reset: %v", e)
	}
}

// A timeout of 0 means no timeout.
func TestNoPreemptionTimeout(t *testing.T) {
	g := ready(t)
	for fn := range 3 {
		g.provision(fn, 0x8a01<<16|1, 5, 0x8a02<<16|1, 0)
	}
	g.newWork(1, 1, render).spin(false)
	other := g.newWork(2, 1, render)
	other.spin(true)
	g.run(200 * ms)
	if e := g.events(1, 0x1008); len(e) != 0 || other.count() != 0 {
		t.Errorf("resets %v, the other function counts %d", e, other.count())
	}
}

// A paused VF loses only work that is not preempted within its timeout.
func TestPauseResetsWhatMakesNoRoom(t *testing.T) {
	for _, c := range []struct {
		name    string
		preempt bool
		timeout uint32 // us
		resets  int
	}{
		{"makes room", true, 16000, 0},
		{"makes no room", false, 16000, 1},
		{"without a timeout", false, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := ready(t)
			g.provision(1, 0x8a01<<16|1, 16, 0x8a02<<16|1, c.timeout)
			w := g.newWork(1, 1, render)
			w.spin(c.preempt)
			g.run(20 * ms)
			g.call(0, 0x5506, 1, 1)
			n := w.count()
			g.run(50 * ms)
			if w.count() != n {
				t.Errorf("a paused VF counts on")
			}
			g.call(0, 0x5506, 1, 2)
			g.run(50 * ms)
			if e := g.events(1, 0x1008); len(e) != c.resets {
				t.Errorf("resets %v, want %d", e, c.resets)
			}
			if goesOn := w.count() > n; goesOn != (c.resets == 0) {
				t.Errorf("goes on after the pause: %v", goesOn)
			}
		})
	}
}

// Within a function, contexts of higher priority (a smaller number) run first, and equals take
// turns.
func TestContextPriority(t *testing.T) {
	g := ready(t)
	low := g.newWork(1, 1, render, policy{0x2003, 3})
	low.spin(true)
	g.run(5 * ms)
	high := g.newWork(1, 2, render, policy{0x2003, 1})
	n := low.count()
	high.store(42)
	g.run(2 * ms)
	if v := high.count(); v != 42 {
		t.Errorf("the context of high priority did not run: %d", v)
	}
	g.run(5 * ms)
	if low.count() <= n {
		t.Error("the preempted context did not go on")
	}
	a, b := g.newWork(1, 3, render, policy{0x2003, 2}), g.newWork(1, 4, render, policy{0x2003, 2})
	a.spin(true)
	b.spin(true)
	n = low.count()
	g.run(40 * ms)
	if r := float64(a.count()) / float64(b.count()); !near(r, 1, 15) {
		t.Errorf("two equals have %d and %d", a.count(), b.count())
	}
	if d := low.count() - n; d > 64 {
		t.Errorf("the lower priority ran beside: %d turns", d)
	}
}

// Engines run independently of each other.
func TestEnginesRunInParallel(t *testing.T) {
	one := ready(t)
	w := one.newWork(1, 1, render)
	w.spin(true)
	one.run(40 * ms)
	g := ready(t)
	var ws []*work
	for i, c := range []uint32{render, copyCls, compute} {
		ws = append(ws, g.newWork(1, uint32(i), c))
	}
	for _, x := range ws {
		x.spin(true)
	}
	g.run(40 * ms)
	for i, x := range ws {
		if r := float64(x.count()) / float64(w.count()); !near(r, 1, 10) {
			t.Errorf("engine %d has %.2f of the rate of an engine alone", i, r)
		}
	}
}

// A running context that is disabled answers when it has stopped. If it is not preempted, it
// answers after a reset.
func TestDisableWhileRunning(t *testing.T) {
	for _, preempt := range []bool{true, false} {
		g := ready(t)
		w := g.newWork(1, 1, render, policy{0x2002, 20000})
		w.spin(preempt)
		g.run(5 * ms)
		g.recv(1)
		g.send(1, 0x20000000|0x1001, 1, 0)
		g.run(2 * ms)
		done := len(g.events(1, 0x1002))
		if preempt != (done == 1) {
			t.Errorf("preemptible %v: %d answers after 2 ms", preempt, done)
		}
		g.run(25 * ms)
		done += len(g.events(1, 0x1002))
		if resets := len(g.events(1, 0x1008)); done != 1 || (resets == 1) == preempt {
			t.Errorf("preemptible %v: %d answers, %d resets", preempt, done, resets)
		}
	}
}

// A closed semaphore yields the engine. When it opens, its context goes on.
func TestSemaphoreYields(t *testing.T) {
	g := ready(t)
	w, other := g.newWork(1, 1, render), g.newWork(1, 2, render)
	w.submit(0x1c<<23|1<<22|1<<15|4<<12|2, 7, uint32(w.counterVA), 0, 0x20<<23|1<<22|2, uint32(w.counterVA)+4, 0, 9)
	g.run(3 * ms)
	other.store(5)
	g.run(3 * ms)
	if v := other.count(); v != 5 {
		t.Errorf("the other context has %d, want 5", v)
	}
	if v := g.R32(w.counter + 4); v != 0 {
		t.Errorf("the wait was over at once: %d", v)
	}
	g.W32(w.counter, 7)
	g.run(3 * ms)
	if v := g.R32(w.counter + 4); v != 9 {
		t.Errorf("behind the semaphore %d, want 9", v)
	}
}

// Activity counters count the time for which a function had an engine, in ticks of 19.2 MHz.
func TestActivityCounters(t *testing.T) {
	g := ready(t)
	meta, metaRAM := g.alloc(0, 1)
	act, actRAM := g.alloc(0, 16)
	if ok, v := g.call(0, 0x550d, 3, uint32(meta), 0, uint32(act), 0); !ok {
		t.Fatalf("refused: %#x", v)
	}
	for fn := range 4 { // the driver sets the quanta of disabled VFs, too
		g.provision(fn, 0x8a01<<16|1, 4)
	}
	a, b := g.newWork(1, 1, render), g.newWork(2, 1, render)
	a.spin(true)
	b.spin(true)
	g.run(200 * ms)
	if g.R32(metaRAM+8) == 0 || g.R32(metaRAM) != 19200000 {
		t.Errorf("meta data: % x", g.Read(metaRAM, 16))
	}
	ticks := func(fn uint64) float64 { return float64(g.R32(actRAM + fn*16*32*16 + 8)) }
	for fn := uint64(1); fn <= 2; fn++ {
		if got := ticks(fn) / 19200; !near(got, 100, 10) {
			t.Errorf("fn%d was active for %.1f ms of 200, want 100", fn, got)
		}
	}
	if got := ticks(0); got != 0 {
		t.Errorf("the idle PF was active for %v ticks", got)
	}
	if q := g.R32(actRAM+16*32*16) >> 16; q != 0x8000/3 {
		t.Errorf("quanta ratio of VF1 %#x, want a third of 0x8000: counters are for the PF, VF1 and VF2", q)
	}
}
