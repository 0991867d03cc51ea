package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmtb/bench/undo"
	"vmtb/flow"
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

// The server is away for a minute, which is longer than the leases. Units end meanwhile, and one ends
// later. All results arrive, and no unit runs twice (check 4).
func TestServerAway(t *testing.T) {
	l := newLab(t, long)
	for _, dut := range []string{"a", "b", "c"} {
		l.dut(dut, small)
	}
	b := l.admin()
	id := l.submit("test_toy::TestThree")
	for _, dut := range []string{"a", "b", "c"} {
		l.wait(dut+" at work", func() bool { return l.has(dut, "waiting") })
	}
	l.kill("server")
	back := time.Now().Add(long + time.Second)
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
	l.wait("the end of all leases", func() bool { return time.Now().After(back) })
	l.start("server")
	l.wait("two results", func() bool { return len(l.done(b, id)) == 2 })
	l.put("c", "go", true)
	l.wait("all results", func() bool { return len(l.done(b, id)) == 3 })
	duts := map[string]bool{}
	for _, r := range l.done(b, id) {
		duts[r.DUT] = true
		if r.Attempt != 1 || r.Exit != 0 {
			t.Errorf("%+v", r)
		}
	}
	if len(duts) != 3 {
		t.Errorf("results of %v", duts)
	}
	run := l.fetch(id, 9)
	for _, e := range run.Entries {
		if e.Attempt > 1 || e.Phase == flow.PhaseCase && e.Event == flow.End && e.Result != flow.Pass {
			t.Errorf("%+v", e)
		}
	}
}

// The server's disk is full: the server refuses new runs with a reason, and results stay on their
// DUT. With more space all results arrive (check 5). The disk is a tmpfs of 20 MB.
func TestServerFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a tmpfs needs root")
	}
	l := newLab(t, short)
	l.must("duts")
	l.kill("server")
	state := filepath.Join(l.dir, "state")
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(state, 0o700), syscall.Mount("tmpfs", state, "tmpfs", 0, "size=20m")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the lab deletes its directory
		l.kill("server")
		_ = syscall.Unmount(state, syscall.MNT_DETACH)
	})
	l.start("server")
	l.dut("a", small)
	b := l.admin()
	id := l.submit("test_toy::TestSlow::*[1VF-slow]", "test_toy::TestWeak")
	l.wait("a at work", func() bool { return l.has("a", "waiting") })
	filler := filepath.Join(state, "filler")
	fill(t, filler)
	out, code := "", 0
	l.wait("a refused run", func() bool { // small writes may still fit, and the engine may be ending
		out, code = l.run("submit", "--vmtb", l.vmtb(), "--lost-after", short.String(), "test_toy::TestMany")
		fill(t, filler)
		return strings.Contains(out, "is its disk full?")
	})
	if code != flow.ExitError {
		t.Errorf("submit: %d %s", code, out)
	}
	l.put("a", "go", true)
	l.wait("the end of the run", func() bool {
		dirs, _ := filepath.Glob(filepath.Join(l.toyDir("a"), "spool/units/*/run"))
		if len(dirs) != 1 {
			return false
		}
		run, err := flow.OpenRun(dirs[0])
		return err == nil && run.Ended()
	})
	log, _ := os.ReadFile(filepath.Join(l.dir, "server.log"))
	if !strings.Contains(string(log), "the disk is full: "+state) {
		t.Errorf("the server says %s", log)
	}
	if !l.has("a", "spool/units/*/run/run.json") {
		t.Error("the run directory is not in the spool")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	l.wait("all results", func() bool { return len(l.done(b, id)) == 7 })
	if c := counts(l.fetch(id, 9)); c[flow.Pass] != 9 {
		t.Errorf("%v", c)
	}
}

// fill writes to a file until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
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

// A DUT on which every flow fails is marked as bad after two units, and does not empty the queue:
// two good DUTs run the rest (check 7). When its health selection passes it takes units again.
func TestBrokenDUT(t *testing.T) {
	l := newLab(t, long)
	l.dut("bad", small, "--health=test_toy::TestHealth", "--health-every=300ms")
	b := l.admin()
	l.put("bad", "broken", true)
	id := l.submit("--need=vfs<12", "test_toy::TestWeak", "test_toy::TestToy::*[4VF*")
	d := l.becomes(b, "bad", "bad")
	if !strings.Contains(d.Why, "errors in 2 units") {
		t.Errorf("%+v", d)
	}
	if n := len(l.done(b, id)); n != 2 {
		t.Errorf("it has taken %d units", n)
	}
	l.dut("good1", small)
	l.dut("good2", small)
	l.wait("the rest", func() bool { return len(l.done(b, id)) == 14 })
	on := map[string]int{}
	for _, r := range l.done(b, id) {
		on[r.DUT]++
	}
	if on["bad"] != 2 || on["good1"] == 0 || on["good2"] == 0 {
		t.Errorf("units by DUT: %v", on)
	}
	l.kill("good1")
	l.kill("good2")
	l.put("bad", "broken", false)
	again := l.submit("test_toy::TestWeak::*[1VF-a]")
	l.wait("a unit on the DUT that is good again", func() bool { return len(l.done(b, again)) == 1 })
	if out, code := l.run("watch", again); code != 0 {
		t.Errorf("watch: %d\n%s", code, out)
	}
}

// If a unit leaves changes on a DUT, the DUT takes no units (check 7). With a health selection, it
// takes units again when that passes; else when a person declares it good.
func TestNotRestored(t *testing.T) {
	l := newLab(t, long)
	l.dut("a", small)
	b := l.admin()
	stick := func(dut string) (sticky string) {
		sticky = filepath.Join(l.toyDir(dut), "sticky")
		if err := os.MkdirAll(filepath.Join(sticky, "x"), 0o755); err != nil {
			t.Fatal(err)
		}
		return sticky
	}
	sticky := stick("a")
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
	l.must("drain", "a")

	if err := os.MkdirAll(l.toyDir("h"), 0o755); err != nil {
		t.Fatal(err)
	}
	sticky = stick("h")
	l.dut("h", small, "--health=test_toy::TestHealth", "--health-every=300ms")
	l.submit("test_toy::TestWeak::*[1VF-c]")
	l.becomes(b, "h", "bad")
	third := l.submit("test_toy::TestWeak::*[1VF-d]")
	failed := func() bool { return strings.Contains(l.state(b, "h").Why, "health check: vmtb run") }
	l.wait("a failed health check", failed)
	if n := len(l.done(b, third)); n != 0 {
		t.Error("a broken DUT took a unit")
	}
	if err := os.RemoveAll(sticky); err != nil {
		t.Fatal(err)
	}
	l.wait("the third unit", func() bool { return len(l.done(b, third)) == 1 })
}

// A reserved or drained DUT finishes its unit and takes no new one. An agent waits for a vmtb that
// a person runs by hand (check 10).
func TestReserve(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a run that locks the host needs root")
	}
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
	l.put("a", "waiting", false)
	l.put("a", "go", false)
	hand := l.byHand("a", "run", "--run-dir="+filepath.Join(l.toyDir("a"), "by-hand"), "test_toy::TestRoot")
	l.wait("the run by hand", func() bool { return l.has("a", "waiting") })
	l.must("reserve", "a", "--for=0s")
	l.wait("the agent waits for the host", func() bool {
		log, _ := os.ReadFile(filepath.Join(l.dir, "a.log"))
		return strings.Contains(string(log), "waits for another vmtb")
	})
	if n := len(l.done(b, second)); n != 0 {
		t.Error("a unit ran beside a run by hand")
	}
	l.put("a", "go", true)
	if err := hand.Wait(); err != nil {
		t.Error("the run by hand:", err)
	}
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
	logs, _ := filepath.Glob(filepath.Join(run.Info.Dir, "runs/*/undo.jsonl"))
	if len(logs) == 0 {
		t.Error("there is no undo journal")
	}
	for _, path := range logs {
		if pending, err := undo.Peek(path, undo.KindOf[undo.Path]()); err != nil || len(pending) > 0 {
			t.Errorf("%s: %v, pending: %v", path, err, pending)
		}
	}
	if c := counts(run); c[flow.Incomplete] != 1 || c[flow.Pass] != 1+done || c[flow.NotRun] != 10-done {
		t.Errorf("%v", c)
	}
}
