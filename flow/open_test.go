package flow

import (
	"strings"
	"testing"
)

// An end removes its phase. The end of a case also removes the abandoned steps in it. The end of a
// step leaves the other steps.
func TestOpenPhases(t *testing.T) {
	var o OpenPhases[string]
	id := ID{File: "f", Case: "c"}
	names := func(list []OpenPhase[string]) string {
		var all []string
		for _, p := range list {
			all = append(all, p.Value)
		}
		return strings.Join(all, " ")
	}
	step := func(name string) Entry { return Entry{Phase: PhaseStep, ID: id, Name: name} }
	of := func(p Phase) Entry { return Entry{Phase: p, ID: id} }

	o.Begin(of(PhaseRun), "run")
	o.Begin(of(PhaseCase), "case")
	o.Begin(step("a"), "a")
	o.Begin(step("b"), "b")
	o.Begin(step("a"), "a again")
	for _, tt := range []struct {
		end         Entry
		ended, open string
	}{
		{step("c"), "", "case a b a again"},
		{of(PhaseReset), "", "case a b a again"},
		{step("a"), "a again", "case a b"},
		{step("a"), "a", "case b"},
		{of(PhaseCase), "case b", ""},
		{step("b"), "", ""},
	} {
		if ended := names(o.End(tt.end)); ended != tt.ended || names(o.All()) != tt.open {
			t.Errorf(
				"%s %s ended %q, and %q are open; want %q, %q", tt.end.Phase, tt.end.Name, ended, names(o.All()),
				tt.ended, tt.open,
			)
		}
	}
	other := ID{File: "f", Case: "other"} // on another DUT of a merged run
	o.Begin(of(PhaseCase), "case")
	o.Begin(Entry{Phase: PhaseCase, ID: other}, "other")
	o.Begin(step("a"), "a")
	if ended := names(o.End(of(PhaseCase))); ended != "case a" || names(o.All()) != "other" {
		t.Errorf("ended %q, and %q are open", ended, names(o.All()))
	}
	o.End(Entry{Phase: PhaseCase, ID: other})
	o.Begin(of(PhaseSetUp), "set-up")
	if cleared := names(o.Clear()); cleared != "set-up" || len(o.All()) > 0 {
		t.Errorf("cleared %q, and %q are open", cleared, names(o.All()))
	}
}
