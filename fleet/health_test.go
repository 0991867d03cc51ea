package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmtb/flow"
	"vmtb/internal/flock"
)

// state returns the agent's report about a DUT.
func (l *lab) state(b *bus, dut string) dutInfo {
	d, _, err := get[dutInfo](l.t.Context(), b, "dut."+dut)
	if err != nil {
		l.t.Fatal(err)
	}
	return d
}

func (l *lab) becomes(b *bus, dut, state string) dutInfo {
	l.t.Helper()
	var d dutInfo
	l.wait(dut+" "+state, func() bool { d = l.state(b, dut); return d.State == state })
	return d
}

// If a DUT is away for longer than its lease, another DUT takes over its unit, and the result of
// that DUT counts. When the first DUT comes back it restores its host, stores its work as an extra
// attempt, and runs nothing (check 3).
func TestAway(t *testing.T) {
	l := newLab(t, short)
	l.dut("a", small)
	b := l.admin()
	id := l.submit("test_toy::TestSlow::*[1VF-slow]")
	l.wait("a waits in the flow", func() bool { return l.has("a", "waiting") })
	l.kill("a")
	if !l.has("a", "changed-*") {
		t.Fatal("the DUT died with nothing to undo: the test shows nothing")
	}
	l.dut("b", small)
	l.put("b", "go", true)
	l.wait("b's result", func() bool { return len(l.done(b, id)) == 1 })
	for _, r := range l.done(b, id) {
		if r.DUT != "b" || r.Attempt != 2 || r.Exit != 0 {
			t.Errorf("%+v", r)
		}
	}
	l.start("a")
	l.wait("a's extra attempt", func() bool {
		r, err := all[result](t.Context(), b, "extra", ">")
		return err == nil && len(r) == 1
	})
	if l.has("a", "changed-*") {
		t.Error("a is not restored")
	}
	run := l.fetch(id, 3)
	if c := counts(run); c[flow.Pass] != 3 {
		t.Errorf("%v", c)
	}
	var takeover time.Time
	for _, e := range run.Entries {
		if e.DUT == "b" && takeover.IsZero() {
			takeover = e.Time
		}
		if e.DUT == "a" && !takeover.IsZero() && e.Time.After(takeover) {
			t.Errorf("a did something after it was fenced: %+v", e)
		}
	}
}

// Units also end while the server is away. Their results arrive when it is back, and no unit runs
// twice (check 4).
func TestServerAway(t *testing.T) {
	l := newLab(t, long)
	l.dut("a", small)
	l.dut("b", small)
	b := l.admin()
	id := l.submit("test_toy::TestSlow")
	l.wait("both at work", func() bool { return l.has("a", "waiting") && l.has("b", "waiting") })
	l.kill("server")
	l.put("a", "go", true)
	l.put("b", "go", true)
	ended := func(dut string) bool {
		dirs, _ := filepath.Glob(filepath.Join(l.toyDir(dut), "spool/units/*/run"))
		for _, dir := range dirs {
			if run, err := flow.OpenRun(dir); err == nil && run.Ended() {
				return true
			}
		}
		return false
	}
	l.wait("the ends of both", func() bool { return ended("a") && ended("b") })
	l.killAgent("b") // a result that waits for the server must also survive the agent
	l.start("b")
	l.start("server")
	l.wait("results", func() bool { return len(l.done(b, id)) == 2 })
	run := l.fetch(id, 6)
	for _, e := range run.Entries {
		if e.Attempt > 1 || e.Phase == flow.PhaseCase && e.Event == flow.End && e.Result != flow.Pass {
			t.Errorf("%+v", e)
		}
	}
}

// The server's disk is full: the server refuses new runs, and results stay on their DUT. With more
// space all results arrive (check 5).
func TestServerFull(t *testing.T) {
	l := newLab(t, short)
	l.must("duts")
	l.kill("server")
	l.start("server", "--max-store=40000")
	l.dut("a", large)
	b := l.admin()
	var id string
	l.wait("a full server", func() bool {
		out, code := l.run(
			"submit", "--vmtb", l.vmtb(), "--lost-after", short.String(), "--id=full", "test_toy::TestToy",
		)
		if code == 0 {
			id = "full"
		}
		return code == 0 || strings.Contains(out, "insufficient") || strings.Contains(out, "resource")
	})
	if id != "" {
		l.wait("an upload that does not fit", func() bool {
			log, _ := os.ReadFile(filepath.Join(l.dir, "a.log"))
			return strings.Contains(string(log), "the result is not stored yet")
		})
	}
	l.kill("server")
	l.start("server")
	id = l.submit("--id=full", "test_toy::TestToy")
	l.wait("all results", func() bool { return len(l.done(b, id)) == 24 })
	if c := counts(l.fetch(id, 72)); c[flow.Pass] != 71 {
		t.Errorf("%v", c)
	}
}

// A unit that takes down its DUT is tried on two DUTs, not on a third (check 6).
func TestDie(t *testing.T) {
	l := newLab(t, short)
	l.dut("a", small)
	b := l.admin()
	id := l.submit("test_toy::TestDie")
	gone := func(dut string) func() bool {
		return func() bool { return len(l.children(dut)) == 0 }
	}
	reap := func(dut string) { l.wait(dut+" dead", gone(dut)); l.killAgent(dut) }
	for _, dut := range []string{"a", "b"} {
		if dut == "b" {
			l.dut("b", small)
		}
		go func(cmd interface{ Wait() error }) { _ = cmd.Wait() }(l.running()[dut]) // reaps the killed process
		reap(dut)
	}
	l.dut("c", small)
	l.wait("c's word", func() bool { return len(l.done(b, id)) == 1 })
	for _, r := range l.done(b, id) {
		if r.DUT != "c" || r.Exit != flow.ExitError || r.Object != "" ||
			r.Why != "the unit made these DUTs fail: a, b" {
			t.Errorf("%+v", r)
		}
	}
	if l.has("c", "changed-*") || l.has("c", "state/runs/*") {
		t.Error("c has run something")
	}
	out, code := l.run("watch", id)
	if code != flow.ExitError || !strings.Contains(out, "the unit made these DUTs fail: a, b") {
		t.Errorf("watch: %d\n%s", code, out)
	}
	run := l.fetch(id, 2) // from the logs of both DUTs
	if c := counts(run); c[flow.Incomplete] != 1 || c[flow.NotRun] != 1 {
		t.Errorf("%v", c)
	}
	if p := run.Info.Participants(); !strings.HasPrefix(
		p, "Participating DUTs 0 of 2; missing: a (its journal ends in test_toy::TestDie::test_die[1VF-die]), b (",
	) {
		t.Error(p)
	}
}

// A DUT on which every flow fails is marked as bad after two units, and does not empty the queue
// (check 7). When its health selection passes it takes units again.
func TestBrokenDUT(t *testing.T) {
	l := newLab(t, long)
	l.dut("bad", small, "--health=test_toy::TestHealth", "--health-every=300ms")
	b := l.admin()
	l.put("bad", "broken", true)
	id := l.submit("test_toy::TestWeak")
	d := l.becomes(b, "bad", "bad")
	if !strings.Contains(d.Why, "errors in 2 units") {
		t.Errorf("%+v", d)
	}
	if n := len(l.done(b, id)); n != 2 {
		t.Errorf("it has taken %d units", n)
	}
	l.dut("good", small)
	l.wait("the rest", func() bool { return len(l.done(b, id)) == 6 })
	if c := counts(l.fetch(id, 6)); c[flow.Pass] != 4 || c[flow.Error] != 2 {
		t.Errorf("%v", c)
	}
	l.put("bad", "broken", false)
	l.becomes(b, "bad", "idle")
}

// If a unit leaves changes on a DUT, the DUT takes no units until a person declares it good again
// (check 7).
func TestNotRestored(t *testing.T) {
	l := newLab(t, long)
	l.dut("a", small)
	b := l.admin()
	sticky := filepath.Join(l.toyDir("a"), "sticky")
	if err := os.MkdirAll(filepath.Join(sticky, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	id := l.submit("test_toy::TestWeak::*[1VF-a]")
	d := l.becomes(b, "a", "bad")
	if !strings.Contains(d.Why, "left the host changed") || !strings.Contains(d.Why, "vmtb-fleet repair a") {
		t.Errorf("%+v", d)
	}
	if out, code := l.run("watch", id); code != flow.ExitNotRestored {
		t.Errorf("watch: %d\n%s", code, out)
	}
	second := l.submit("test_toy::TestWeak::*[1VF-b]")
	if err := os.RemoveAll(sticky); err != nil {
		t.Fatal(err)
	}
	if n := len(l.done(b, second)); n != 0 {
		t.Error("a broken DUT took a unit")
	}
	l.must("repair", "a")
	l.wait("the second unit", func() bool { return len(l.done(b, second)) == 1 })
}

// A reserved or drained DUT finishes its unit and takes no new one. An agent waits for a vmtb that
// a person runs by hand (check 10).
func TestReserve(t *testing.T) {
	l := newLab(t, long)
	l.dut("a", small)
	b := l.admin()
	first := l.submit("test_toy::TestSlow::*[1VF-slow]")
	l.wait("a at work", func() bool { return l.has("a", "waiting") })
	l.must("drain", "a")
	second := l.submit("test_toy::TestWeak::*[1VF-a]")
	l.put("a", "go", true)
	l.wait("the first", func() bool { return len(l.done(b, first)) == 1 })
	if d := l.becomes(b, "a", "draining"); !strings.Contains(d.Why, "by ") {
		t.Errorf("%+v", d)
	}
	l.must("reserve", "a", "--for=1h")
	l.must("drain", "a", "--end")
	if d := l.becomes(b, "a", "reserved"); !strings.Contains(d.Why, "until") {
		t.Errorf("%+v", d)
	}
	if n := len(l.done(b, second)); n != 0 {
		t.Error("a reserved DUT took a unit")
	}
	lock, err := os.Create(filepath.Join(l.toyDir("a"), "state/vmtb.lock"))
	if err == nil {
		err = flock.Exclusive(lock)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.must("reserve", "a", "--for=0s")
	l.wait("the agent waits for the host", func() bool {
		log, _ := os.ReadFile(filepath.Join(l.dir, "a.log"))
		return strings.Contains(string(log), "waits for another vmtb")
	})
	lock.Close()
	l.wait("the second", func() bool { return len(l.done(b, second)) == 1 })
	if out, code := l.run("watch", second); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	if out, code := l.run("drain", "nobody"); code != flow.ExitUsage ||
		!strings.Contains(out, "there is no DUT nobody") {
		t.Errorf("%d %s", code, out)
	}
}

// A cancelled run ends in order: running units are interrupted and their changes undone, and
// waiting units are not run (check 11).
func TestCancel(t *testing.T) {
	l := newLab(t, long)
	l.dut("a", small)
	b := l.admin()
	id := l.submit("test_toy::TestSlow", "test_toy::TestWeak")
	l.wait("a at work", func() bool { return l.has("a", "waiting") })
	done := len(l.done(b, id))
	l.must("cancel", id)
	l.wait("results", func() bool { return len(l.done(b, id)) == 8 })
	l.wait("an empty queue", func() bool { return l.queued(b) == 0 })
	if out, code := l.run("watch", id); code != flow.ExitInterrupted {
		t.Errorf("watch: %d\n%s", code, out)
	}
	if l.has("a", "changed-*") {
		t.Error("a is not restored")
	}
	run := l.fetch(id, 12)
	if c := counts(run); c[flow.Incomplete] != 1 || c[flow.Pass] != 1+done || c[flow.NotRun] != 10-done {
		t.Errorf("%v", c)
	}
}
