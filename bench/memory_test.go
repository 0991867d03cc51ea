package bench

import (
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"
)

// The driver's need grows with the VF's state up to its queue, for each VF.
func TestCheckMovingMemory(t *testing.T) {
	for _, c := range []struct {
		available int
		states    []int
		says      string // "": there is enough memory
	}{
		{0, nil, ""},
		{520, []int{520}, ""},
		{3072, []int{16 << 10}, ""},
		{3072, []int{math.MaxInt}, ""},
		{3072, []int{4 << 10, 8}, "up to 3080 MiB to move the VF's state, 3072 MiB are available"},
		{1023, []int{1024}, "up to 1024 MiB to move the VF's state, 1023 MiB are available"},
	} {
		err := checkMovingMemory("save", c.available, c.states)
		if c.says == "" {
			if err != nil {
				t.Errorf("%v: %v", c.states, err)
			}
			continue
		}
		infra, ok := errors.AsType[*InfraError](err)
		if !ok || !strings.Contains(infra.Error(), c.says) || !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("%v: %v, want an InfraError that says %q", c.states, err, c.says)
		}
	}
	if err := CheckMovingMemory("save", 1); err != nil {
		t.Error(err)
	}
}

func TestAvailableMiB(t *testing.T) {
	const meminfo = "MemTotal:  4194304 kB\nMemAvailable:  3145727 kB\nBuffers: 1 kB\n"
	if n, err := availableMiB(meminfo); n != 3071 || err != nil {
		t.Errorf("%d, %v, want 3071", n, err)
	}
	if _, err := availableMiB("MemTotal: 1 kB\n"); err == nil || !strings.Contains(err.Error(), "MemAvailable") {
		t.Errorf("without the line: %v", err)
	}
}
