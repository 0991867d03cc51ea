package sysfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/internal/prose"
)

// FS is the host's file system. [undo.OS] is the real one. Errors match [syscall.Errno] values and
// [fs.ErrNotExist].
type FS interface {
	ReadFile(path string) ([]byte, error)
	WriteFile(path string, data []byte) error // one write(2) to an existing file
	Readlink(path string) (string, error)
	ReadDir(path string) ([]fs.DirEntry, error) // sorted by name
	Stat(path string) (fs.FileInfo, error)      // links are not followed
}

// A Tree is a host's files, and the journal that records a change before it is made.
type Tree struct {
	FS  FS
	Log undo.Journal
}

// Text returns the trimmed content of a file. sysfs' "(null)" is "".
func (t *Tree) Text(path string) (string, error) {
	b, err := t.FS.ReadFile(path)
	if err != nil {
		return "", HostError("read", path, "", err)
	}
	s := strings.TrimSpace(string(b))
	if s == "(null)" {
		s = ""
	}
	return s, nil
}

// Uint returns the number in a file, decimal or hexadecimal with 0x.
func (t *Tree) Uint(path string) (uint64, error) {
	s, err := t.Text(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 0, &bench.HostError{Op: "read", Noun: path, Err: fmt.Errorf("%q is not a number", s)}
	}
	return n, nil
}

// Exists reports whether path exists.
func (t *Tree) Exists(path string) bool {
	_, err := t.FS.Stat(path)
	return err == nil
}

// Write writes value to a file. It returns when ctx ends, even if the kernel does not: some writes
// (sriov_numvfs, unbind) wait for the processes that hold a device. Such a write goes on in the
// background.
func (t *Tree) Write(ctx context.Context, path, value string) error {
	if ctx.Err() != nil {
		return HostError("write", path, value, context.Cause(ctx))
	}
	done := make(chan error, 1)
	go func() { done <- t.FS.WriteFile(path, []byte(value)) }()
	select {
	case err := <-done:
		return HostError("write", path, value, err)
	case <-ctx.Done():
		return &bench.HostError{
			Op: "write", Noun: path, Value: value, Err: context.Cause(ctx),
			Advice: "the kernel has not returned from this write: something may still hold the device; see dmesg",
		}
	}
}

// Change records w and then writes value to w.Path. The caller fills in the fields of w that say
// how to undo the change.
func (t *Tree) Change(ctx context.Context, w undo.Write, value string) error {
	return t.Log.Do(ctx, w, func() error { return t.Write(ctx, w.Path, value) })
}

// HostError wraps the kernel's error about path, and adds advice if there is any. It returns nil
// for nil.
func HostError(op, path, value string, err error) error {
	if err == nil {
		return nil
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = named{errno}
	}
	return &bench.HostError{Op: op, Noun: path, Value: strings.TrimSpace(value), Err: err, Advice: advice(path, errno)}
}

// named is an errno whose message includes its name, because people search for the name.
type named struct{ errno syscall.Errno }

func (e named) Error() string {
	name := unix.ErrnoName(e.errno)
	if e.errno == syscall.EUCLEAN {
		name = "EUCLEAN" // file systems call the same number EFSCORRUPTED
	}
	return name + " (" + e.errno.Error() + ")"
}

func (e named) Unwrap() error { return e.errno }

// Poll calls cond every few milliseconds until it returns true or fails, ctx ends, or limit is
// over. The error for a timeout names the awaited condition with the argument called what.
func Poll(ctx context.Context, limit time.Duration, what string, cond func() (bool, error)) error {
	late := fmt.Errorf("%s: not seen within %s", what, prose.Exact(limit))
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := cond(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
