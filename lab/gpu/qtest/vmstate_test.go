//go:build integration

package qtest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// save stops the machine, writes its state to a file, and returns the file's name.
func (g *gpu) save(dir string) string {
	g.t.Helper()
	file := filepath.Join(dir, "state")
	if err := g.QMP("stop", nil); err != nil {
		g.t.Fatal(err)
	}
	if ok, err := g.Migrate(g.t.Context(), "migrate", file); !ok {
		g.t.Fatalf("the state could not be saved: %v", err)
	}
	return file
}

// load starts another machine with the state in a file, and reports whether the machine accepted
// it.
func load(ctx context.Context, t testing.TB, props, file string) (*Machine, bool) {
	t.Helper()
	m := start(t, props, "-incoming", "defer")
	ok, err := m.Migrate(ctx, "migrate-incoming", file)
	if err != nil {
		t.Fatal(err)
	}
	return m, ok
}

// move continues g in another QEMU, whose clock begins at 0 and whose device has these properties.
func (g *gpu) move(props string) {
	g.t.Helper()
	m, ok := load(g.t.Context(), g.t, props, g.save(g.t.TempDir()))
	if !ok {
		g.t.Fatal("the state could not be loaded")
	}
	g.Machine = m
	if err := g.QMP("cont", nil); err != nil {
		g.t.Fatal(err)
	}
}

// loop submits a batch that counts to n, in a few microseconds per turn, and then stores 42 behind
// the counter.
func (w *work) loop(n uint32) {
	w.batch(
		0x2f<<23|1<<22|5<<8|1, uint32(w.counterVA), 0,
		0x36<<23|1<<22|1<<21|2<<12|2, n, uint32(w.counterVA), 0,
		0x05<<23,
		0x31<<23|1, uint32(w.batchVA), 0,
	)
	w.submit(0x20<<23|1<<22|2, uint32(w.counterVA)+4, 0, 42)
}

// A machine that is saved during work goes on in another QEMU as if nothing had happened.
func TestMoveWithWork(t *testing.T) {
	g := ready(t)
	for fn := range vfs + 1 {
		g.provision(fn, 0x8a01<<16|1, 2, 0x8a02<<16|1, 4000)
	}
	running, waiting := g.newWork(1, 1, render), g.newWork(2, 7, copyCls, policy{0x2003, 1})
	paused, pf := g.newWork(3, 2, render), g.newWork(0, 3, compute)
	running.loop(100)
	waiting.submit(0x1c<<23|1<<22|1<<15|4<<12|2, 5, uint32(waiting.counterVA), 0,
		0x20<<23|1<<22|2, uint32(waiting.counterVA)+4, 0, 43)
	paused.spin(true)
	pf.loop(100)
	g.run(3 * ms)
	if ok, v := g.call(0, 0x5506, 3, 1); !ok {
		t.Fatalf("pause of VF3: %#x", v)
	}
	g.events(0, 0x5106)
	_, size := g.call(0, 0x550b, 3, 0, 0, 0)
	g.set("migrate-delay-ms", 50)
	buf, _ := g.alloc(0, 1)
	fence := g.send(0, 0x550b, 3, uint32(buf), 0, size) // the answer comes later
	g.W32(reg(0, 0x6000), 0x12345678)
	g.W32(reg(2, fnBase+0x244), 0xcafe)
	before := map[string]uint32{
		"running": running.count(), "pf": pf.count(), "paused": paused.count(),
	}
	for name, n := range before {
		if n == 0 || n >= 100 && name != "paused" {
			t.Fatalf("%s has counted to %d when it is saved: that shows nothing", name, n)
		}
	}
	regs := []uint64{0x6000, 0xc000, 0xd8c, 0xdfc, 0x9118, fnBase + 0x18, fnBase + 0x1c, fnBase + 0xa44}
	var want []uint32
	for _, r := range regs {
		want = append(want, g.R32(reg(0, r)))
	}
	g.move("")
	for i, r := range regs {
		if v := g.R32(reg(0, r)); v != want[i] {
			t.Errorf("register %#x: %#x, before %#x", r, v, want[i])
		}
	}
	if v := g.R32(reg(2, fnBase+0x244)); v != 0xcafe {
		t.Errorf("scratch register of VF2: %#x", v)
	}
	g.run(20 * ms)
	for name, w := range map[string]*work{"running": running, "pf": pf} {
		if n, end := w.count(), g.R32(w.counter+4); n != 100 || end != 42 {
			t.Errorf("%s counted to %d and stored %d, want 100 and 42", name, n, end)
		}
	}
	if n := paused.count(); n != before["paused"] {
		t.Errorf("the paused VF went on: %d, then %d", before["paused"], n)
	}
	if v := g.R32(waiting.counter + 4); v != 0 {
		t.Errorf("the context at the semaphore went on: %d", v)
	}
	for _, m := range g.recv(0) {
		if m[0] == uint32(fence) {
			t.Errorf("the delayed answer came early: %#x", m)
		}
	}
	g.W32(waiting.counter, 5)
	g.run(40 * ms)
	if v := g.R32(waiting.counter + 4); v != 43 {
		t.Errorf("behind the semaphore is %d, want 43", v)
	}
	var answer []uint32
	for _, m := range g.recv(0) {
		if m[0] == uint32(fence) {
			answer = m
		}
	}
	if len(answer) != 2 || answer[1] != 0xf0000000|size {
		t.Errorf("answer to the save that was under way: %#x, want %#x", answer, 0xf0000000|size)
	}
	if ok, v := g.call(0, 0x5506, 3, 2); !ok {
		t.Fatalf("VF3 cannot be resumed: %#x", v)
	}
	g.run(5 * ms)
	if n := paused.count(); n <= before["paused"] {
		t.Errorf("the resumed VF does not go on: %d, then %d", before["paused"], n)
	}
	for fn := range vfs + 1 {
		if e := g.events(fn, 0x1008); len(e) != 0 {
			t.Errorf("fn%d: contexts were reset: %v", fn, e)
		}
	}
}

// The GPU of a stopped machine does nothing, because its memory may be saved already.
func TestStoppedGPURests(t *testing.T) {
	g := ready(t)
	w := g.newWork(1, 1, render)
	w.spin(true)
	g.run(2 * ms)
	if err := g.QMP("stop", nil); err != nil {
		t.Fatal(err)
	}
	n := w.count()
	g.bell(1)
	g.run(3 * ms)
	if m := w.count(); m != n {
		t.Errorf("the GPU went on: %d, then %d", n, m)
	}
	if err := g.QMP("cont", nil); err != nil {
		t.Fatal(err)
	}
	g.run(3 * ms)
	if m := w.count(); m <= n {
		t.Errorf("the GPU does not go on: %d, then %d", n, m)
	}
}

// busy returns the saved state of a machine with work, and the offset of the device's part in it.
func busy(t testing.TB) (state []byte, at int) {
	t.Helper()
	g := ready(t)
	g.newWork(1, 1, render).spin(true)
	g.newWork(2, 1, copyCls).submit(0x1c<<23|1<<22|1<<15|4<<12|2, 5, 1<<20, 0)
	g.set("control-delay-ms", 50)
	g.send(0, 0x5506, 3, 1)
	g.run(2 * ms)
	state, err := os.ReadFile(g.save(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	const name = "\x150000:00:02.0/vmtb-gpu"              // with its length: the GGTT's name has the same prefix
	at = bytes.Index(state, []byte(name)) + len(name) + 8 // after instance and version
	if at < len(name)+8 {
		t.Fatalf("the file has no section %s", name)
	}
	return state, at
}

// try loads a state, then uses the device. It reports whether the state was accepted.
func try(ctx context.Context, t testing.TB, state []byte) bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(file, state, 0o600); err != nil {
		t.Fatal(err)
	}
	m, ok := load(ctx, t, "", file)
	_ = m.QMP("cont", nil) // a machine with half of its state may refuse
	for range 5 {
		m.Step(time.Millisecond)
	}
	m.Outl(0xcf8, 0x80001000)
	if err := m.Err(); err != nil {
		t.Fatal(err)
	}
	return ok
}

// A malformed stream is refused. QEMU survives, and the device can be used.
func TestBadStreams(t *testing.T) {
	state, at := busy(t)
	if !try(t.Context(), t, state) {
		t.Fatal("the stream is refused as it is")
	}
	const pci = 1 + 1 + 4 + 8          // numbers of VFs and GTs, platform, size of local memory
	const config = pci + 4 + 4096 + 16 // version, configuration space, interrupt lines
	for _, c := range []struct {
		name string
		off  int
		with string
	}{
		{"version of the section", -4, "\x00\x00\x00\x09"},
		{"number of VFs", 0, "\x07"},
		{"number of GTs", 1, "\x02"},
		{"platform", 5, "\xff"},
		{"local memory", 7, "\x01"},
		{"more enabled VFs than there are", pci + 4 + sriov + 0x10, "\xff\x00"},
		{"number of registers", config, "\x7f\xff\xff\xff"},
		{"number of contexts", config + 8, "\x80\x00\x00\x00"},
		{"number of steered registers", config + 4, "\x7f\xff\xff\xff"},
		{"number of later messages", config + 12, "\x7f\xff\xff\xff"},
	} {
		bad := bytes.Clone(state)
		copy(bad[at+c.off:], c.with)
		if try(t.Context(), t, bad) {
			t.Errorf("%s: the stream is taken", c.name)
		}
	}
	for _, n := range []int{1, config + 6, config + 3000} {
		if try(t.Context(), t, state[:at+n]) {
			t.Errorf("a stream that ends %d bytes into the device is taken", n)
		}
	}
}

// FuzzStream changes the device's part of a stream. QEMU must survive, whether it accepts the
// stream or not.
func FuzzStream(f *testing.F) {
	state, at := busy(f)
	for i := range 8 {
		f.Add(uint32(4200+i*2500), byte(1<<i), uint32(4230+i*3), byte(0xff))
	}
	f.Fuzz(func(t *testing.T, where uint32, flip byte, where2 uint32, flip2 byte) {
		bad := bytes.Clone(state)
		bad[at+int(where)%(len(bad)-at)] ^= flip
		bad[at+int(where2)%(len(bad)-at)] ^= flip2
		try(t.Context(), t, bad)
	})
}
