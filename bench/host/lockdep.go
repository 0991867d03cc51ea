package host

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strings"

	"vmtb/bench"
)

var debugLocks = regexp.MustCompile(`(?m)^\s*debug_locks:\s*([01])$`)

// LockdepOff reports whether a machine's kernel has switched its lock validator off (debug_locks in
// /proc/lockdep_stats). The kernel does that after the validator found an error. For a kernel
// without a lock validator it returns false.
func LockdepOff(ctx context.Context, m bench.Machine) (bool, error) {
	data, err := m.ReadFile(ctx, "/proc/lockdep_stats")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	found := debugLocks.FindStringSubmatch(strings.ReplaceAll(string(data), "\r", ""))
	return found != nil && found[1] == "0", nil
}
