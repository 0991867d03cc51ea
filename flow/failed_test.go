package flow

import (
	"slices"
	"testing"
)

func TestFailed(t *testing.T) {
	id := func(name string) ID { return ID{File: "f", Class: "C", Case: name} }
	item := func(name, after string) Item { return Item{ID: id(name), After: after} }
	plan := []Item{
		item("passed", ""), item("failed", ""), item("saved", ""), item("restored", "saved"), item("cut", ""),
		item("never", ""), item("skipped", ""), item("mended", ""), item("victim", "failed"),
	}
	end := func(name string, r Result, after string) Entry {
		return Entry{Event: End, Phase: PhaseCase, ID: id(name), Result: r, After: after}
	}
	run := RunDir{Info: Info{Plan: plan}, Entries: []Entry{
		end("passed", Pass, ""), end("failed", Fail, ""), end("saved", Pass, ""), end("restored", Error, ""),
		end("cut", Incomplete, ""),
		end("skipped", Skip, ""), end("mended", Timeout, ""), end("mended", DmesgWarn, ""),
		end("victim", Skip, "failed"),
		{Event: End, Phase: PhaseTearDown, ID: id("passed"), Result: Error},
	}}
	var got []string
	for _, it := range run.Failed(append(plan, item("not in the plan", ""))) {
		got = append(got, it.ID.Case)
	}
	if want := []string{"failed", "saved", "restored", "cut", "never", "victim"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
