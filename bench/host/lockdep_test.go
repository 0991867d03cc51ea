package host

import (
	"context"
	"io/fs"
	"testing"

	"vmtb/bench"
)

// A lockdepStats is a machine that has at most this one file.
type lockdepStats struct {
	bench.Machine
	text string
}

func (m lockdepStats) ReadFile(context.Context, string) ([]byte, error) {
	if m.text == "" {
		return nil, &fs.PathError{Op: "open", Path: "/proc/lockdep_stats", Err: fs.ErrNotExist}
	}
	return []byte(m.text), nil
}

func TestLockdepOff(t *testing.T) {
	for text, want := range map[string]bool{
		"": false,
		" lock-classes:                         1854 [max: 8192]\n debug_locks:                             1\n": false,
		" lock-classes:                         1854 [max: 8192]\n debug_locks:                             0\n": true,
	} {
		if got, err := LockdepOff(t.Context(), lockdepStats{text: text}); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
