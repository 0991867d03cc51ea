package main

import (
	"slices"
	"testing"
	"time"

	"vmtb/flow"
)

const (
	short = 3 * time.Second // a lease in tests that lose one
	long  = time.Minute     // a lease in tests that lose none
)

var (
	small = map[string]string{"gpu": "ptl", "vfs": "4", "kernel": "7.0.1"}
	large = map[string]string{"gpu": "bmg", "vfs": "24", "kernel": "7.1"}
)

// Submit, run on two DUTs, fetch: every flow has one result, and each DUT ran only what it can
// (checks 2 and 8).
func TestRun(t *testing.T) {
	l := newLab(t, long)
	l.dut("small", small)
	l.dut("large", large)
	b := l.admin()
	id := l.submit("--id=r1", "test_toy::TestToy")
	l.submit("--id=r1", "test_toy::TestToy") // a second time: the engine drops the units that it has
	if out, code := l.run("submit", "--id=r1", "--vmtb", l.vmtb(), "TestSlow"); code != flow.ExitUsage {
		t.Errorf("another selection under the same id: %d %s", code, out)
	}
	if out, code := l.run("watch", id); code != flow.ExitFail {
		t.Errorf("watch ended with %d:\n%s", code, out)
	}
	l.wait("an empty queue", func() bool { return l.queued(b) == 0 })
	run := l.fetch(id, 72)
	if c := counts(run); c[flow.Pass] != 71 || c[flow.Fail] != 1 {
		t.Errorf("%v", c)
	}
	on := map[string]int{}
	for _, e := range run.Entries {
		if e.Phase != flow.PhaseCase || e.Event != flow.End {
			continue
		}
		on[e.DUT]++
		if e.DUT == "small" && e.ID.Param[:2] == "12" {
			t.Errorf("%s ran on a DUT with 4 VFs", e.ID)
		}
		if e.Attempt > 1 {
			t.Errorf("%s ran twice", e.ID)
		}
	}
	if on["small"] == 0 || on["large"] == 0 {
		t.Errorf("flows by DUT: %v", on)
	}
	if got := run.Info.Participants(); got != "Participating DUTs 2 of 2" {
		t.Error(got)
	}
	// The flows of a run are in vmtb's order.
	if !slices.IsSortedFunc(run.Info.Plan, func(a, b flow.Item) int { return 0 }) ||
		run.Info.Plan[0].ID.Param != "1VF-toy0" {
		t.Errorf("the plan begins with %s", run.Info.Plan[0].ID)
	}
}
