package main

import (
	"path/filepath"
	"strings"
	"testing"

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

// A submit that was killed between two units can be repeated: no unit is queued twice. After the
// queue was lost, repair queues the units without a result again (check 2).
func TestSubmitAgain(t *testing.T) {
	l := newLab(t, long)
	b := l.admin()
	o := submitOptions{vmtb: l.vmtb(), id: "r1", lost: long}
	sub, err := b.plan(t.Context(), o, runInfo{Words: []string{"test_toy::TestToy"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.objects.PutBytes(t.Context(), submissionName("r1"), encode(sub)); err != nil {
		t.Fatal(err)
	}
	if err := b.queue(t.Context(), sub.Units[:7], long, ""); err != nil { // then submit was killed
		t.Fatal(err)
	}
	l.submit("--id=r1", "test_toy::TestToy")
	if n := l.queued(b); n != 24 {
		t.Errorf("%d units are queued", n)
	}
	s, err := b.js.Stream(t.Context(), unitStream)
	if err == nil {
		err = s.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if out := l.must("repair", "r1"); !strings.Contains(out, "units queued again: 24") {
		t.Error(out)
	}
	l.dut("a", large)
	l.wait("results", func() bool { return len(l.done(b, "r1")) == 24 })
	if c := counts(l.fetch("r1", 72)); c[flow.Pass] != 71 {
		t.Errorf("%v", c)
	}
}
