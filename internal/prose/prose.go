package prose

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Count returns a number with its noun, which is passed in the singular: "1 VF", "2 VFs", "0
// classes".
func Count[N ~int | ~int64 | ~uint64](n N, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "s"):
		noun += "es"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Bytes formats a size: "512 bytes", "20 KiB", "4096 MiB".
func Bytes(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return Count(n, "byte")
}

// Duration formats d in at most two units, rounded for reading: "15 ms", "13.7 s", "6 min 38 s", "1
// h 13 min". A part that is zero is omitted ("2 min", "5 s"). A caller that counts in whole seconds
// truncates d. A negative duration, and one that rounds to no time, is "0 s".
//
// Use [Exact] for a time limit, and for a value that is compared with another.
//
// A position in time is not a duration. The clock at the start of a line ("0:00:42 since the run
// began") stays a clock.
func Duration(d time.Duration) string {
	if ms := max(0, d).Round(time.Millisecond); 0 < ms && ms < time.Second {
		return fmt.Sprintf("%d ms", ms.Milliseconds())
	}
	if tenths := max(0, d).Round(time.Second / 10); tenths < time.Minute {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", tenths.Seconds()), ".0") + " s"
	}
	if s := d.Round(time.Second); s < time.Hour {
		return units(s, time.Minute, "min", time.Second, "s")
	}
	return units(d.Round(time.Minute), time.Hour, "h", time.Minute, "min")
}

// Exact formats d to the millisecond, in as many units as necessary: "250 ms", "2.5 s", "3 min", "1
// h 1 min 30 s". It is for limits and for values that are compared, where the rounding of
// [Duration] would hide the difference. Below a millisecond it uses µs or ns.
func Exact(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Exact(-max(d, -math.MaxInt64))
	case d == 0:
		return "0 s"
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d.Round(time.Microsecond) < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Round(time.Microsecond).Microseconds())
	}
	d = d.Round(time.Millisecond)
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	var parts []string
	if h := d / time.Hour; h > 0 {
		parts = append(parts, fmt.Sprintf("%d h", h))
	}
	if m := d % time.Hour / time.Minute; m > 0 {
		parts = append(parts, fmt.Sprintf("%d min", m))
	}
	if ms := (d % time.Minute).Milliseconds(); ms > 0 {
		parts = append(
			parts, strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%03d", ms/1000, ms%1000), "0"), ".")+" s",
		)
	}
	return strings.Join(parts, " ")
}

func units(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	s := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 {
		s += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return s
}
