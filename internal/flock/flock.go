package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInUse is the error for a file that another process has locked.
var ErrInUse = errors.New("locked by another process")

// Exclusive locks f for this process alone. If f is locked, it returns an error that matches
// [ErrInUse] at once.
func Exclusive(f *os.File) error { return lock(f, unix.LOCK_EX|unix.LOCK_NB) }

// Shared locks f against [Exclusive]. If f is locked exclusively, it returns an error that matches
// [ErrInUse] at once. Any number of processes may hold a shared lock. f need not be open for
// writing.
func Shared(f *os.File) error { return lock(f, unix.LOCK_SH|unix.LOCK_NB) }

// pollEvery is the interval of the attempts to lock. A goroutine in a blocking flock(2) could not
// be ended with ctx.
const pollEvery = 20 * time.Millisecond

// Wait locks f for this process alone as soon as it is free. When ctx ends, it returns the cause.
func Wait(ctx context.Context, f *os.File) error { return wait(ctx, f, Exclusive) }

// WaitShared locks f as [Shared] does, as soon as f is not locked exclusively. When ctx ends, it
// returns the cause.
func WaitShared(ctx context.Context, f *os.File) error { return wait(ctx, f, Shared) }

func wait(ctx context.Context, f *os.File, try func(*os.File) error) error {
	return poll(ctx, func() error { return try(f) })
}

// Any locks one of files for this process alone, and returns its index. If all are locked, it
// returns an error that matches [ErrInUse] at once.
func Any(files []*os.File) (locked int, err error) {
	for i, f := range files {
		if err = Exclusive(f); !errors.Is(err, ErrInUse) {
			return i, err
		}
	}
	return 0, err
}

// WaitAny does the same as [Any] as soon as one of files is free. When ctx ends, it returns the
// cause.
func WaitAny(ctx context.Context, files []*os.File) (locked int, err error) {
	err = poll(ctx, func() (err error) {
		locked, err = Any(files)
		return err
	})
	return locked, err
}

// poll calls try until its error does not match [ErrInUse].
func poll(ctx context.Context, try func() error) error {
	err := try()
	if !errors.Is(err, ErrInUse) {
		return err
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for errors.Is(err, ErrInUse) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			err = try()
		}
	}
	return err
}

// flock is a variable for tests.
var flock = unix.Flock

func lock(f *os.File, how int) error {
	for {
		err := flock(int(f.Fd()), how)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("%s: %w", f.Name(), ErrInUse)
		case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
			return fmt.Errorf(
				"lock %s: the file system refuses locks (for NFS: is lockd reachable? mount with local_lock=flock): %w",
				f.Name(), err,
			)
		default:
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}
