package vm

import (
	"testing"
	"time"
)

// The message has the limit exactly as the user gave it.
func TestWaitedMessage(t *testing.T) {
	for limit, want := range map[time.Duration]string{
		200 * time.Millisecond:          "it had not ended within 200 ms",
		2500 * time.Millisecond:         "it had not ended within 2.5 s",
		90 * time.Second:                "it had not ended within 1 min 30 s",
		61*time.Minute + 30*time.Second: "it had not ended within 1 h 1 min 30 s",
	} {
		if got := (errWaited{"it had not ended", limit}).Error(); got != want {
			t.Errorf("%v: %q, want %q", limit, got, want)
		}
	}
}
