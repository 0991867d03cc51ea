package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vmtb/flow"
)

// submit reports at once a requirement that no DUT meets. When labels change, the next fetch uses
// the new labels (check 8). A run ends at its deadline.
func TestRequirements(t *testing.T) {
	l := newLab(t, long)
	l.dut("a", small)
	b := l.admin()
	l.becomes(b, "a", "idle")
	out := l.must(
		"submit", "--vmtb", l.vmtb(), "--id=r1", "--need=kernel>=7.1 gpu!=bmg", "test_toy::TestWeak::*[1VF-a]",
	)
	if !strings.Contains(out, `no DUT meets "gpu!=bmg kernel>=7.1 vfs>=1"`) ||
		!strings.Contains(out, "a lacks kernel>=7.1 (it has 7.0.1)") {
		t.Error(out)
	}
	l.label("a", map[string]string{"gpu": "ptl", "vfs": "4", "kernel": "7.1.0"}) // as LAVA boots another kernel
	b.wake()
	l.wait("the result", func() bool { return len(l.done(b, "r1")) == 1 })
	late := l.submit("--need=rack=none", "--deadline=500ms", "test_toy::TestWeak::*[1VF-b]")
	if out, code := l.run("watch", late); code != flow.ExitError || !strings.Contains(out, "1 notrun") {
		t.Errorf("watch: %d\n%s", code, out)
	}
	for _, c := range [][]string{
		{"--need=rack"}, {"--option=run-dir=/etc"}, {"--option=timeout=../x"}, {"--id=a.b"}, {"nothing::like::this"},
	} {
		if out, code := l.run(append([]string{"submit", "--vmtb", l.vmtb()}, c...)...); code != flow.ExitUsage {
			t.Errorf("%v: %d %s", c, code, out)
		}
	}
}

// With --each-gpu each flow runs once on each kind of GPU, and each kind has a report of its own
// (check 9).
func TestEachGPU(t *testing.T) {
	l := newLab(t, long)
	l.dut("b1", large)
	l.dut("b2", large)
	l.dut("p1", small)
	b := l.admin()
	for _, dut := range []string{"b1", "b2", "p1"} {
		l.becomes(b, dut, "idle")
	}
	id := l.submit("--each-gpu", "test_toy::TestWeak")
	l.wait("results", func() bool { return len(l.done(b, id)) == 12 })
	dir := filepath.Join(t.TempDir(), "all")
	l.must("fetch", id, "-o", dir, "--vmtb", l.vmtb())
	for _, kind := range []string{"bmg", "ptl"} {
		run, err := flow.OpenRun(filepath.Join(dir, kind))
		if err != nil {
			t.Fatal(err)
		}
		if c := counts(run); c[flow.Pass] != 6 {
			t.Errorf("%s: %v", kind, c)
		}
		for _, e := range run.Entries {
			if e.Attempt > 1 || kind == "ptl" && strings.HasPrefix(e.DUT, "b") {
				t.Errorf("%s: %+v", kind, e)
			}
		}
	}
}

// A submit that is killed between two units can be repeated: no unit is queued twice. After the
// queue was lost, repair queues the units without a result again (check 2).
func TestSubmitAgain(t *testing.T) {
	l := newLab(t, long)
	b := l.admin()
	s, err := b.js.Stream(t.Context(), unitStream)
	if err != nil {
		t.Fatal(err)
	}
	id := l.killSubmit(b, s)
	before := l.queued(b)
	l.submit("--id="+id, "test_toy::TestMany")
	if n := l.queued(b); n != 40 {
		t.Errorf("%d units are queued, and %d before", n, before)
	}
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := l.must("repair", id); !strings.Contains(out, "units queued again: 40") {
		t.Error(out)
	}
	l.dut("a", large)
	l.wait("results", func() bool { return len(l.done(b, id)) == 40 })
	for _, r := range l.done(b, id) {
		if r.Attempt != 1 {
			t.Errorf("%+v", r)
		}
	}
	if c := counts(l.fetch(id, 120)); c[flow.Pass] != 119 {
		t.Errorf("%v", c)
	}
}

// killSubmit starts submits, and kills each with SIGKILL after its fifth unit, until one was killed
// before its last unit. It returns the id of that run.
func (l *lab) killSubmit(b *bus, s jetstream.Stream) (id string) {
	l.t.Helper()
	published := make(chan *nats.Msg, 1000)
	sub, err := b.nc.ChanSubscribe("unit.>", published)
	if err != nil {
		l.t.Fatal(err)
	}
	defer sub.Unsubscribe()
	for try := range 20 {
		id := fmt.Sprint("r", try)
		key := filepath.Join(l.dir, "state", "admin.key")
		cmd := exec.Command(l.self, "as-fleet", "submit", "--key="+key, "--id="+id, "--vmtb="+l.vmtb(),
			"--lost-after="+l.lost.String(), "test_toy::TestMany")
		if err := cmd.Start(); err != nil {
			l.t.Fatal(err)
		}
		for range 5 {
			select {
			case <-published:
			case <-time.After(time.Minute):
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if n := l.queued(b); n >= 5 && n < 40 {
			l.t.Logf("submit was killed after %d units", n)
			return id
		}
		for len(published) > 0 {
			<-published
		}
		if err := s.Purge(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
	}
	l.t.Fatal("no submit was killed between two units")
	return ""
}
