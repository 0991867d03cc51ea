//go:build integration

package qtest

import (
	"testing"
)

func TestFaultMessages(t *testing.T) {
	g := ready(t)
	g.set("fault-h2g", "0x5506:2:fail:0x41,0x5503:1:drop")
	if ok, v := g.call(0, 0x5506, 1, 1); !ok {
		t.Errorf("the first message was refused: %#x", v)
	}
	if ok, v := g.call(0, 0x5506, 1, 2); ok || v != 0x41 {
		t.Errorf("the second message: ok %v, %#x", ok, v)
	}
	if ok, v := g.call(0, 0x5506, 1, 2); !ok {
		t.Errorf("the third message was refused: %#x", v)
	}
	g.recv(0)
	g.send(0, 0x5503, 1, 0, 0, 0)
	if m := g.recv(0); len(m) != 0 {
		t.Errorf("a dropped message was answered: %x", m)
	}
	g.set("fault-h2g", "0x5506:0:delay:20")
	f := g.send(0, 0x5506, 1, 1)
	g.run(10 * ms)
	for _, m := range g.recv(0) {
		if m[0] == uint32(f) {
			t.Errorf("answered before its time: %x", m)
		}
	}
	g.run(15 * ms)
	found := false
	for _, m := range g.recv(0) {
		found = found || m[0] == uint32(f)
	}
	if !found {
		t.Error("the delayed answer did not come")
	}
	for _, bad := range []string{"x", "1:2", "1:2:explode", "1:2:fail:0", "1:2:fail:0x10000"} {
		if err := g.QMP("qom-set", map[string]any{
			"path": "/machine/peripheral/gpu", "property": "fault-h2g", "value": bad,
		}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestFaultVFControl(t *testing.T) {
	g := ready(t)
	g.set("fault-flr-stuck", 1<<1)
	g.set("fault-pause-stuck", 1<<2)
	g.set("control-delay-ms", 10)
	for vf, cmd := range map[uint32]uint32{1: 4, 2: 1} {
		if ok, v := g.call(0, 0x5506, vf, cmd); !ok {
			t.Errorf("VF%d: command %d: %#x", vf, cmd, v)
		}
	}
	g.call(0, 0x5506, 3, 1)
	g.run(5 * ms)
	if e := g.events(0, 0x5106); len(e) != 0 {
		t.Errorf("events after 5 ms: %v", e)
	}
	g.run(50 * ms)
	if e := g.events(0, 0x5106); len(e) != 1 || e[0][0] != 3 || e[0][1] != 3 {
		t.Errorf("events %v, want only: VF3 is paused", e)
	}
}

func TestFaultWork(t *testing.T) {
	g := ready(t)
	g.set("fault-kill-work", 1<<1)
	g.newWork(1, 1, render).store(1)
	w := g.newWork(2, 1, render)
	w.store(1)
	g.run(3 * ms)
	if e := g.events(1, 0x1008); len(e) != 1 {
		t.Errorf("VF1: resets %v, want one", e)
	}
	if w.count() != 1 {
		t.Error("VF2's work did not run")
	}
	g.set("fault-kill-work", 0)
	g.set("fault-hang-work", 1<<2)
	w.store(2)
	g.run(20 * ms)
	if w.count() != 1 {
		t.Error("VF2's work ran although it hangs")
	}
	g.set("fault-hang-work", 0)
	g.run(3 * ms)
	if w.count() != 2 {
		t.Error("VF2's work did not go on")
	}
}

func TestFaultFavour(t *testing.T) {
	g := ready(t)
	for fn := range 4 {
		g.provision(fn, 0x8a01<<16|1, 2)
	}
	g.set("fault-favour", 1<<1)
	a, b := g.newWork(1, 1, render), g.newWork(2, 1, render)
	a.spin(true)
	b.spin(true)
	g.run(180 * ms)
	if r := float64(a.count()) / float64(b.count()); !near(r, 8, 15) {
		t.Errorf("the favoured VF has %.1f times the work, want 8", r)
	}
}

func TestFaultCTB(t *testing.T) {
	g := ready(t)
	g.recv(0)
	g.set("fault-ctb-corrupt", 1)
	g.send(0, 0x5506, 1, 1)
	if h := g.R32(g.ct[0].gbuf + uint64(g.ct[0].ghead)*4); h&0xff != 0xff {
		t.Errorf("the header of the message is %#x", h)
	}
	g.set("fault-ct-dead", 1<<2)
	if f := g.send(2, 0x1000, 5); len(g.recv(2)) != 0 {
		t.Errorf("a dead CTB answered message %d", f)
	}
	g.set("fault-ct-dead", 0)
	g.bell(2)
	if m := g.recv(2); len(m) != 1 {
		t.Errorf("a CTB that lives again has %x", m)
	}
}

func TestFaultFirmware(t *testing.T) {
	g := newGPU(t)
	g.set("fault-guc-status", 0x7100)
	g.loadGuC()
	if v := g.R32(reg(0, 0xc000)); v != 0x7100 {
		t.Errorf("GUC_STATUS %#x", v)
	}
	if a := g.mbox(0, 0x4100); a[0] != 0x4100 {
		t.Errorf("a GuC that did not start answered %#x", a[0])
	}
}

func TestAdverseEvents(t *testing.T) {
	g := ready(t)
	va, pa := g.alloc(0, 1)
	g.Write(pa, le(0x8002<<16|1, 100))
	if ok, v := g.call(0, 0x5502, uint32(va), 0, 2); !ok || v != 1 {
		t.Fatalf("sample period: ok %v, %d", ok, v)
	}
	g.provision(1, 0x8a03<<16|1, 2, 0x8a04<<16|1, 3)
	fail := func(id uint32) {
		g.newWork(1, id, render).submit(0x20<<23|1<<22|2, 0xff000000, 0, 1)
		g.run(2 * ms)
	}
	fail(1)
	if e := g.events(0, 0x5104); len(e) != 0 {
		t.Errorf("told of one error: %v", e)
	}
	fail(2)
	if e := g.events(0, 0x5104); len(e) != 1 || e[0][0] != 1 || e[0][1] != 0x8a03 {
		t.Errorf("adverse events %x, want VF1's memory errors", e)
	}
	fail(3)
	if e := g.events(0, 0x5104); len(e) != 1 || e[0][1] != 0x8a04 {
		t.Errorf("adverse events %x, want VF1's resets", e)
	}
	g.run(150 * ms)
	g.set("fault-adverse", "1:0x8a03:1")
	if e := g.events(0, 0x5104); len(e) != 0 {
		t.Errorf("a new period began with events of the old one: %v", e)
	}
	g.set("fault-adverse", "1:0x8a03:1")
	if e := g.events(0, 0x5104); len(e) != 1 {
		t.Errorf("adverse events %v, want one", e)
	}
}

func TestFaultRestoreLost(t *testing.T) {
	g := ready(t)
	w := g.newWork(1, 1, render)
	w.spin(true)
	g.run(2 * ms)
	g.call(0, 0x5506, 1, 1)
	_, size := g.call(0, 0x550b, 1, 0, 0, 0)
	va, _ := g.alloc(0, 1)
	g.call(0, 0x550b, 1, uint32(va), 0, size)
	g.set("fault-restore-lost", 1<<1)
	if ok, v := g.call(0, 1<<16|0x550b, 1, uint32(va), 0, size); !ok {
		t.Fatalf("restore: %#x", v)
	}
	g.call(0, 0x5506, 1, 2)
	g.mbox(1, 1<<16|0x5508)
	n := w.count()
	g.run(5 * ms)
	if w.count() != n {
		t.Error("the lost context runs")
	}
	if ok, v := g.call(1, 0x1000, 1); ok || v != 0x100 {
		t.Errorf("the lost context is known: ok %v, %#x", ok, v)
	}
}
