package bench

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

// The driver's need grows with the VF's state up to its queue, for each VF.
func TestCheckMovingMemory(t *testing.T) {
	const mem = "MemTotal:  4194304 kB\nMemAvailable:  3145728 kB\n" // 3 GiB available
	for _, c := range []struct {
		meminfo string
		states  []int
		says    string // "": there is enough memory
	}{
		{mem, nil, ""},
		{mem, []int{520}, ""},
		{mem, []int{16 << 10}, ""},
		{mem, []int{4 << 10, 8}, "up to 3080 MiB to move the VF's state, 3072 MiB are available"},
		{"MemAvailable: 1048575 kB\n", []int{1024}, "up to 1024 MiB to move the VF's state, 1023 MiB are available"},
		{"MemTotal: 1 kB\n", []int{8}, "MemAvailable"},
	} {
		err := checkMovingMemory("save", c.meminfo, c.states)
		if c.says == "" {
			if err != nil {
				t.Errorf("%v: %v", c.states, err)
			}
			continue
		}
		if infra, ok := errors.AsType[*InfraError](err); !ok || !strings.Contains(infra.Error(), c.says) {
			t.Errorf("%v: %v, want an InfraError that says %q", c.states, err, c.says)
		}
		if c.meminfo == mem && !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("%v: %v, want ENOMEM", c.states, err)
		}
	}
	if err := CheckMovingMemory("save", 1); err != nil {
		t.Error(err)
	}
}
