package work_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench/work"
)

func TestWsim(t *testing.T) {
	const say = "gem_wsim said 0 times"
	for _, c := range []struct {
		wsim   work.Wsim
		stdout string
		reason string
	}{
		{work.Wsim{Descriptor: work.Preemptible, Repeats: 2000}, "", ""},
		{work.Wsim{File: []byte("1.RCS.100.0.0\n"), Clients: 2}, "read 1.RCS.100.0.0\n", ""},
		{work.Wsim{Descriptor: "bad"}, "", "gem_wsim: exit code 1: Failed to parse workload 0!"},
		{work.Wsim{Descriptor: "1.RCS.1.0.0", Options: []string{"-v"}}, "", "Usage"},
	} {
		c.wsim.Config = fakeIGT(t)
		r := wait(t, start(t, this(), c.wsim))
		if (r.Verdict == work.Pass) != (c.reason == "") || !strings.Contains(r.Reason, c.reason) ||
			!strings.HasPrefix(string(r.Exit.Stdout), c.stdout) {
			t.Errorf("%v: %+v", c.wsim, r)
		}
		if c.reason == "" && (r.Wsim.Elapsed != 19449*time.Millisecond || r.Wsim.Rate != 102.836) {
			t.Errorf("%v: %+v", c.wsim, r.Wsim)
		}
		if c.reason != "" && r.Wsim != nil || strings.Contains(r.Reason, say) {
			t.Errorf("%v: %+v", c.wsim, r)
		}
	}
}

func TestParseWsim(t *testing.T) {
	const out = `Using device /dev/dri/card1
2 clients.
*0: 19.401s elapsed (1000 cycles, 51.544 workloads/s). Time avg/min/max=19400/19000/21000us; 0 missed.
 1: 19.449s elapsed (51.417 workloads/s)
19.449s elapsed (102.836 workloads/s)
`
	got, err := work.ParseWsim(out)
	want := &work.WsimResult{Elapsed: 19449 * time.Millisecond, Rate: 102.836, Clients: []work.WsimClient{
		{ID: 0, Master: true, Elapsed: 19401 * time.Millisecond, Cycles: 1000, Rate: 51.544},
		{ID: 1, Elapsed: 19449 * time.Millisecond, Rate: 51.417},
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if r, err := work.ParseWsim("0.000s elapsed (inf workloads/s)\n"); err != nil || !math.IsInf(r.Rate, 1) {
		t.Errorf("%+v, %v", r, err)
	}
	total := "1.000s elapsed (1.000 workloads/s)\n"
	for _, bad := range []string{
		"", "1s elapsed\n", total + total, "x" + total, strings.TrimSuffix(total, ")\n"),
		"*99999999999999999999: " + total + total,
	} {
		if r, err := work.ParseWsim(bad); err == nil {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}

func FuzzParseWsim(f *testing.F) {
	f.Add("*0: 19.401s elapsed (1000 cycles, 51.544 workloads/s).\n19.449s elapsed (102.836 workloads/s)\n")
	f.Fuzz(func(t *testing.T, out string) {
		r, err := work.ParseWsim(out)
		if (r == nil) == (err == nil) || r != nil && (r.Rate < 0 || math.IsNaN(r.Rate)) {
			t.Error(r, err)
		}
	})
}

func FuzzParseState(f *testing.F) {
	for _, s := range []string{"running \n", "exit 0  \n", "exit 137\n", "exit 256\n", "exit", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		done, code, err := work.ParseState(s)
		if code < 0 || code > 255 || done && err != nil || !done && code != 0 {
			t.Error(done, code, err)
		}
	})
}
