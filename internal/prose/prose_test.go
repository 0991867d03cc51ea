package prose

import (
	"math"
	"testing"
	"time"
)

func TestCount(t *testing.T) {
	for _, c := range []struct {
		n    int
		noun string
		want string
	}{
		{0, "VF", "0 VFs"},
		{1, "VF", "1 VF"},
		{2, "VF", "2 VFs"},
		{1, "class", "1 class"},
		{2, "class", "2 classes"},
		{-1, "VF", "-1 VFs"},
		{3, "tear-down error", "3 tear-down errors"},
	} {
		if got := Count(c.n, c.noun); got != c.want {
			t.Errorf("%d, %q: %q, want %q", c.n, c.noun, got, c.want)
		}
	}
}

func TestDuration(t *testing.T) {
	const ms, s, minute, h = time.Millisecond, time.Second, time.Minute, time.Hour
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0 s"},
		{-h, "0 s"},
		{math.MinInt64, "0 s"},
		{400 * time.Microsecond, "0 s"},
		{600 * time.Microsecond, "1 ms"},
		{15*ms + 40*time.Microsecond, "15 ms"},
		{999 * ms, "999 ms"},
		{999*ms + 600*time.Microsecond, "1 s"}, // rounds up to the next unit
		{s, "1 s"},
		{1040 * ms, "1 s"},
		{1050 * ms, "1.1 s"},
		{13*s + 700*ms, "13.7 s"},
		{59*s + 949*ms, "59.9 s"},
		{59*s + 950*ms, "1 min"},
		{minute, "1 min"},
		{125 * s, "2 min 5 s"},
		{6*minute + 37*s + 500*ms, "6 min 38 s"},
		{h - s, "59 min 59 s"},
		{h - 500*ms, "1 h"},
		{h + 13*minute, "1 h 13 min"},
		{h + 12*minute + 30*s, "1 h 13 min"},
		{2*h - 30*s, "2 h"},
		{30*h + 5*minute, "30 h 5 min"},
		{math.MaxInt64, "2562047 h 47 min"},
	} {
		if got := Duration(c.d); got != c.want {
			t.Errorf("%v: %q, want %q", c.d, got, c.want)
		}
	}
}

// Exact shows a limit exactly as it was set: 2.5 s is not shown as 2 s or 3 s, nor 61 min 30 s as 1
// h 2 min.
func TestExact(t *testing.T) {
	const ms, s, minute, h = time.Millisecond, time.Second, time.Minute, time.Hour
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0 s"},
		{1, "1 ns"},
		{999, "999 ns"},
		{1500, "2 µs"},
		{250 * time.Microsecond, "250 µs"},
		{ms - 1, "1 ms"},
		{200 * ms, "200 ms"},
		{999*ms + 600*time.Microsecond, "1 s"},
		{s, "1 s"},
		{1050 * ms, "1.05 s"},
		{2500 * ms, "2.5 s"},
		{19449 * ms, "19.449 s"},
		{60 * s, "1 min"},
		{60*s - 1, "1 min"}, // a limit times a factor without an exact binary form
		{90 * s, "1 min 30 s"},
		{90*s + 250*ms, "1 min 30.25 s"},
		{3 * minute, "3 min"},
		{10*minute + 10*s, "10 min 10 s"},
		{h, "1 h"},
		{h + 30*s, "1 h 30 s"},
		{61*minute + 30*s, "1 h 1 min 30 s"},
		{2*h + 10*ms, "2 h 0.01 s"},
		{30 * h, "30 h"},
		{-h, "-1 h"},
		{-2500 * ms, "-2.5 s"},
		{math.MaxInt64, "2562047 h 47 min 16.854 s"},
		{math.MinInt64, "-2562047 h 47 min 16.854 s"},
	} {
		if got := Exact(c.d); got != c.want {
			t.Errorf("%v: %q, want %q", c.d, got, c.want)
		}
	}
}

// A duration below ten minutes has at most two units, and never 60 of a unit.
func TestDurationNeverSixty(t *testing.T) {
	for d := time.Duration(0); d < 10*time.Minute; d += 7 * time.Millisecond {
		switch got := Duration(d); got {
		case "60 s", "1000 ms", "60.0 s":
			t.Fatalf("%v: %q", d, got)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 10239: "10239 bytes", 10 << 10: "10 KiB", 10<<20 - 1: "10239 KiB",
		4 << 30: "4096 MiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
