package migration

import (
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/vmm_flows/fixture"
)

func TestRepeats(t *testing.T) {
	for _, tt := range []struct {
		took time.Duration
		want int
	}{
		{20 * time.Second, 1},
		{7999 * time.Millisecond, 2},
		{6 * time.Second, 3}, // int(12/6)+1
		{500 * time.Millisecond, 25},
		{0, 1201}, // a test that takes no time counts as 10 ms
	} {
		if got := repeats(tt.took, igtWork); got != tt.want {
			t.Errorf("what takes %v: %d times, want %d", tt.took, got, tt.want)
		}
	}
}

// Work is scaled, but it does not end before the check of the restored machine.
func TestAmount(t *testing.T) {
	for _, tt := range []struct {
		scale        float64
		normal, want time.Duration
	}{
		{1, wsimWork, 20 * time.Second},
		{2, wsimWork, 40 * time.Second},
		{0.2, wsimWork, 1200*time.Millisecond + look},
		{1, igtEnough, 8 * time.Second},
		{0.2, igtEnough, 1200*time.Millisecond + look},
		{0.9, igtEnough, 8 * time.Second},
		{1, igtWork, 12 * time.Second},
	} {
		s := &fixture.Setup{Bench: &bench.Config{WorkloadScale: tt.scale}}
		if got := amount(s, tt.normal); got != tt.want {
			t.Errorf("%v at %v: %v, want %v", tt.normal, tt.scale, got, tt.want)
		}
	}
}
