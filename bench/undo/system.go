package undo

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
)

// A System is the host that records are undone on: [OS], or a fake in tests. Errors are those of
// the kernel: they match [syscall.Errno] values with [errors.Is].
type System interface {
	ReadFile(path string) ([]byte, error)
	// WriteFile writes data to an existing file in one write(2), as sysfs and debugfs require.
	WriteFile(path string, data []byte) error
	Readlink(path string) (string, error)
	Stat(path string) (fs.FileInfo, error) // links are not followed
	Remove(path string) error
	RemoveAll(path string) error
	// SyncDir makes removals from a directory permanent, in case the host dies now. Otherwise a
	// file system may lose the removals of the last seconds, while our synced journal says that
	// they were done.
	SyncDir(path string) error
	// Kill ends p and waits until it has ended. It returns nil if p has ended already, even if its
	// pid is in use again.
	Kill(ctx context.Context, p Process) error
	// RemoveModule unloads a kernel module and the modules that only it needed. The error for a
	// module in use is EBUSY.
	RemoveModule(ctx context.Context, name string) error
}

// ErrNotOurs is the error if a record was not undone because somebody else has changed its object
// since. The object was left alone, and the entry does not stay pending.
var ErrNotOurs = errors.New("changed by someone else, left alone")

// ErrPast is the error if a reboot has undone a change. Somebody else made the host's current
// state. The entry does not stay pending.
var ErrPast = errors.New("undone by a reboot of the host")

// targetGone reports whether a file is missing because its device is: there is nothing left to undo.
func targetGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV)
}
