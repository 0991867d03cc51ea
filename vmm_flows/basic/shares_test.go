package basic

import (
	"strings"
	"testing"
	"time"

	"vmtb/bench/work"
	"vmtb/flow"
)

func TestUnequal(t *testing.T) {
	r := func(seconds, rate float64) work.WsimResult {
		return work.WsimResult{Elapsed: time.Duration(seconds * float64(time.Second)), Rate: rate}
	}
	for _, tt := range []struct {
		name    string
		results []work.WsimResult
		want    []string // a part of each complaint
	}{
		{"equal", []work.WsimResult{r(20, 50), r(20.1, 49.8)}, nil},
		{"at the edge", []work.WsimResult{r(18.1, 55), r(19.9, 50)}, nil},
		{
			"each as if it were alone",
			[]work.WsimResult{r(10, 100), r(10, 100)},
			[]string{"vm0 took 10 s, less than 18 s: 2 machines do not share"},
		},
		{"slow", []work.WsimResult{r(25, 40), r(25, 40)}, []string{"vm0 did 40.000 workloads/s, less than 45.000"}},
		{
			"first favoured",
			[]work.WsimResult{r(13.3, 75), r(20, 50)},
			[]string{
				"vm0 took 13.3 s", "vm1 took 20 s and vm0 13.3 s: they differ by 50 %",
				"vm1 did 50.000 workloads/s and vm0 75.000",
			},
		},
		{"second favoured", []work.WsimResult{r(20, 50), r(13.3, 75)}, []string{"vm1 took 13.3 s", "vm1 did 75.000"}},
		{
			"third starved",
			[]work.WsimResult{r(30, 33.3), r(30, 33.3), r(40, 25)},
			[]string{"vm2 took 40 s", "vm2 did 25.000"},
		},
		{"no rate", []work.WsimResult{r(20, 0), r(20, 50)}, []string{"vm0 did 0.000", "vm1 did 50.000"}},
	} {
		got := unequal(tt.results, 1000)
		ok := len(got) == len(tt.want)
		for i := range min(len(got), len(tt.want)) {
			ok = ok && strings.Contains(got[i], tt.want[i])
		}
		if !ok {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestDisturbed(t *testing.T) {
	for seconds, fine := range map[float64]bool{30: true, 24.1: true, 35.9: true, 23.9: false, 36.1: false, 0: false} {
		r := work.WsimResult{Elapsed: time.Duration(seconds * float64(time.Second))}
		if got := disturbed(r, 3000); (got == "") != fine {
			t.Errorf("%v s: %q", seconds, got)
		}
	}
}

func TestStartedApart(t *testing.T) {
	two := make([]work.WsimResult, 2)
	if err := startedApart(1900*time.Millisecond, two, 1000); err != nil {
		t.Error(err)
	}
	if err := startedApart(2100*time.Millisecond, two, 1000); flow.BlameOf(err) != flow.BlameInfra {
		t.Errorf("got %v", err)
	}
}
