package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/internal/flock"
)

// LockFile is locked by the process that uses the host. /run/lock is the standard directory for
// such files (FHS 3.0, 5.9).
const LockFile = "/run/lock/vmtb.lock"

// Lock reserves the host for this process by locking a file, normally [LockFile]. Two runs that
// provision the same PF would destroy each other's work. The kernel releases the lock when the
// process ends for any reason.
func Lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, &bench.InfraError{Op: "lock the host", Err: err}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, &bench.InfraError{Op: "lock the host", Err: err}
	}
	err = flock.Exclusive(f)
	if errors.Is(err, flock.ErrInUse) {
		holder, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		return nil, &bench.InfraError{
			Op:     "lock the host",
			Err:    fmt.Errorf("another vmtb (pid %s) is using it", strings.TrimSpace(string(holder))),
			Advice: "wait for its end, or interrupt it",
		}
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintln(os.Getpid())))
	}
	if err != nil {
		f.Close()
		return nil, &bench.InfraError{Op: "lock the host", Err: err}
	}
	return func() { f.Close() }, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}
