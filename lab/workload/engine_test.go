package main

import (
	"errors"
	"math"
	"testing"
	"time"
)

const ms = time.Millisecond

// play runs an engine with a share for each tick of 20 ms. Later ticks have the last share.
func play(t *testing.T, e *engine, shares ...float64) time.Duration {
	t.Helper()
	n := 0
	share := func() (float64, error) {
		n++
		return shares[min(n, len(shares))-1], nil
	}
	if err := drive(e, share, func() time.Duration { return tick }); err != nil {
		t.Fatal(err)
	}
	return e.elapsed
}

func steps(t *testing.T, text string) []step {
	t.Helper()
	s, err := parseWsim(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func near(got, want time.Duration) bool {
	return math.Abs(float64(got-want)) < float64(time.Microsecond)*100
}

func TestEngine(t *testing.T) {
	const work = "1.DEFAULT.5000.0.0,2.DEFAULT.5000.-1.1" // 10 ms
	for _, tt := range []struct {
		name             string
		text             string
		clients, repeats int
		shares           []float64
		want             time.Duration
	}{
		{"alone", work, 1, 100, []float64{1}, 1000 * ms},
		{"half", work, 1, 100, []float64{0.5}, 2000 * ms},
		{"a third of a cycle", work, 1, 1, []float64{1.0 / 3}, 30 * ms},
		{"paused for 100 ms", work, 1, 10, []float64{1, 0, 0, 0, 0, 0, 1}, 200 * ms},
		{"neighbour comes after 40 ms", work, 1, 10, []float64{1, 1, 0.5}, 160 * ms},
		{"without waiting", "1.DEFAULT.5000.0.0,2.DEFAULT.5000.-1.0", 1, 100, []float64{1}, 1000 * ms},
		{"not preemptible", "X.1.0,X.2.0," + work, 1, 100, []float64{1}, 1000 * ms},
		{"clients share", work, 3, 100, []float64{1}, 3000 * ms},
		{"a delay does not need the GPU", "1.DEFAULT.10000.0.1,d.30000", 1, 10, []float64{0.5}, 500 * ms},
		{"a delay beside the GPU", "1.DEFAULT.10000.0.0,d.30000", 1, 10, []float64{0.5}, 300 * ms},
		{"a period", "1.DEFAULT.10000.0.1,p.16000", 1, 10, []float64{1}, 160 * ms},
		{"a period too short", "1.DEFAULT.10000.0.1,p.5000", 1, 10, []float64{1}, 100 * ms},
		{
			"sync with the first of two", "1.DEFAULT.10000.0.0,1.DEFAULT.20000.0.0,s.-2,d.20000", 1, 1,
			[]float64{1},
			30 * ms,
		},
		{"a delay is over only when it has passed", "1.DEFAULT.1000.0.1,d.500000", 1, 1, []float64{1}, 501 * ms},
		{
			"delays of one client leave the GPU to the other", "1.DEFAULT.10000.0.1,d.10000", 2, 10,
			[]float64{1},
			300 * ms,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEngine(steps(t, tt.text), tt.clients, tt.repeats)
			if got := play(t, e, tt.shares...); !near(got, tt.want) {
				t.Errorf("took %v, want %v", got, tt.want)
			}
		})
	}
}

// The time between two steps of the program does not change the duration of the work.
func TestSlowCPU(t *testing.T) {
	for _, every := range []time.Duration{ms, 7 * ms, 333 * ms, maxTick} {
		e := newEngine(steps(t, "1.DEFAULT.5000.0.1"), 1, 400)
		if err := drive(e, func() (float64, error) { return 0.5, nil }, func() time.Duration {
			return every
		}); err != nil {
			t.Fatal(err)
		}
		if !near(e.elapsed, 4*time.Second) {
			t.Errorf("looking every %v: took %v", every, e.elapsed)
		}
	}
}

// After a jump of the clock, no work counts for the time of the jump, but the time has passed.
func TestClockJump(t *testing.T) {
	jumps := map[int]time.Duration{3: time.Hour, 5: -time.Hour}
	n := 0
	e := newEngine(steps(t, "1.DEFAULT.8000000.0.1"), 1, 1)
	err := drive(e, func() (float64, error) { return 1, nil }, func() time.Duration {
		n++
		if d, ok := jumps[n]; ok {
			return d
		}
		return 100 * ms
	})
	if ticks := n - 2; err != nil || ticks != 30 { // 8 s, less maxTick for the jump forward
		t.Errorf("%d ticks, %v", ticks, err)
	}
	if want := 8 * time.Second; !near(e.elapsed, want+time.Hour-maxTick-time.Hour) {
		t.Errorf("took %v", e.elapsed)
	}
}

func TestDriverGone(t *testing.T) {
	gone := errors.New("gone")
	e := newEngine(steps(t, "1.DEFAULT.5000.0.1"), 1, 1)
	if err := drive(e, func() (float64, error) { return 0, gone }, func() time.Duration { return tick }); !errors.Is(
		err, gone,
	) {
		t.Errorf("got %v", err)
	}
}
