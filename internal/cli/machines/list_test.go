package machines

import (
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	now := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]string{
		400 * time.Millisecond:          "0 s",
		125 * time.Second:               "2 min 5 s",
		time.Hour + 13*time.Minute:      "1 h 13 min",
		24*time.Hour - time.Millisecond: "1 d 0 h",
		51 * time.Hour:                  "2 d 3 h",
	} {
		if got := age(now.Add(-d), now); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
