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
	// WriteFile gives data to an existing file in one write(2), which is what sysfs and debugfs ask
	// for.
	WriteFile(path string, data []byte) error
	Readlink(path string) (string, error)
	Stat(path string) (fs.FileInfo, error) // links are not followed
	Remove(path string) error
	RemoveAll(path string) error
	// SyncDir makes what has gone from a directory stay gone, should the host die now. A file
	// system may lose the removals of the last seconds, while our journal, which is synced, says
	// that they were done.
	SyncDir(path string) error
	// Kill ends p and waits until it is gone. It is nil when p has gone already, also when its pid
	// is in use again.
	Kill(ctx context.Context, p Process) error
	// RemoveModule unloads a kernel module and what only it needed. A module that is in use is
	// EBUSY.
	RemoveModule(ctx context.Context, name string) error
}

// ErrNotOurs says that a record was not undone because what it names is no longer what we left: it
// was left alone. Its entry does not stay pending.
var ErrNotOurs = errors.New("changed by someone else, left alone")

// ErrPast says that the host was booted after the change was made, which has undone it: whatever
// the host looks like now was made by somebody else. Its entry does not stay pending.
var ErrPast = errors.New("undone by a reboot of the host")

// gone reports that a file is not there any more because its device is not: there is nothing left
// to undo.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) }
