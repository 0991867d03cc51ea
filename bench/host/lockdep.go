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

// LockdepOff reports that a machine's kernel has switched its lock validator off, which it does
// when it has found something wrong (debug_locks in /proc/lockdep_stats). A kernel without one has
// none to switch off.
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
