package report

import (
	"strings"
	"testing"

	"vmtb/flow"
)

// A signal is written as soon as the result of its case is final. If the DUT dies after an entry,
// LAVA keeps the signals that were written until then.
func TestLAVALive(t *testing.T) {
	a, b := flow.ID{File: "f", Class: "TestC", Case: "test_a", Param: "1"}, flow.ID{
		File: "f", Class: "TestC", Case: "test_b", Param: "1",
	}
	other := flow.ID{File: "f", Class: "TestD", Case: "test_a", Param: "1"}
	end := func(id flow.ID, r flow.Result) flow.Entry {
		return flow.Entry{Event: flow.End, Phase: flow.PhaseCase, ID: id, Result: r}
	}
	begin := func(id flow.ID) flow.Entry { return flow.Entry{Event: flow.Begin, Phase: flow.PhaseCase, ID: id} }
	type step struct {
		e    flow.Entry
		want string // results that were written until then
	}
	waits := end(b, flow.Skip)
	waits.After = "test_a"
	for name, c := range map[string]struct {
		policy flow.Policy
		steps  []step
		all    string // results at the end
	}{
		"at once": {
			steps: []step{
				{begin(a), ""}, {end(a, flow.Pass), "pass"}, {begin(b), "pass"}, {end(b, flow.Fail), "pass fail"},
			}, all: "pass fail skip",
		},
		"killed": {
			steps: []step{{begin(a), ""}, {end(a, flow.Pass), "pass"}, {begin(b), "pass"}}, all: "pass unknown skip",
		},
		"tried again": {policy: flow.Policy{RerunFailed: 1}, steps: []step{
			{begin(a), ""},
			{end(a, flow.Fail), ""},
			{begin(b), ""},
			{end(b, flow.Pass), "pass"},
			{begin(a), "pass"},
			{end(a, flow.Fail), "pass fail"},
		}, all: "pass fail skip"},
		"not tried again": {policy: flow.Policy{RerunFailed: 2}, steps: []step{
			{begin(a), ""}, {end(a, flow.Fail), ""}, {begin(other), "fail"}, {end(other, flow.Pass), "fail pass"},
		}, all: "fail pass skip"},
		"waits for one before it": {policy: flow.Policy{RerunFailed: 1}, steps: []step{
			{begin(a), ""},
			{end(a, flow.Fail), ""},
			{waits, ""},
			{begin(a), ""},
			{end(a, flow.Pass), "pass"},
			{begin(b), "pass"},
			{end(b, flow.Pass), "pass pass"},
		}, all: "pass pass skip"},
		"repeated": {policy: flow.Policy{Repeat: 2}, steps: []step{
			{begin(a), ""},
			{end(a, flow.Pass), ""},
			{begin(b), ""},
			{end(b, flow.Pass), ""},
			{begin(a), ""},
			{end(a, flow.Fail), "fail"},
			{begin(other), "fail pass"},
		}, all: "fail pass unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			results := func() string {
				var list []string
				for line := range strings.Lines(out.String()) {
					if _, after, ok := strings.Cut(line, "RESULT="); ok {
						list = append(list, strings.Fields(after)[0])
					}
				}
				return strings.Join(list, " ")
			}
			r := NewLAVA(&out, nil)
			info := flow.Info{Policy: c.policy}
			for _, id := range []flow.ID{a, b, other} {
				info.Plan = append(info.Plan, flow.Item{ID: id})
			}
			r.Start(info)
			for i, s := range c.steps {
				if r.Entry(s.e); results() != s.want {
					t.Errorf("after %d, %s of %s: %q, want %q", i, s.e.Event, s.e.ID, results(), s.want)
				}
			}
			if err := r.Close(); err != nil || results() != c.all {
				t.Errorf("%v; at the end %q, want %q", err, results(), c.all)
			}
			if starts, stops := strings.Count(out.String(), "TESTSET START"), strings.Count(
				out.String(), "TESTSET STOP",
			); starts != stops || starts < 2 {
				t.Errorf("%d test sets begin, %d end:\n%s", starts, stops, out.String())
			}
		})
	}
}
