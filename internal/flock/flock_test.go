package flock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	a, b, c := open(t, path), open(t, path), open(t, path)
	if err := errors.Join(Shared(a), Shared(b)); err != nil {
		t.Fatal(err)
	}
	if err := Exclusive(c); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("exclusive beside shared: %v", err)
	}
	a.Close()
	b.Close()
	if err := Exclusive(c); err != nil {
		t.Error(err)
	}
	if err := Shared(open(t, path)); !errors.Is(err, ErrInUse) {
		t.Errorf("shared beside exclusive: %v", err)
	}
}

func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder, waiter := open(t, path), open(t, path)
	if err := Wait(t.Context(), holder); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 3*pollEvery, errors.New("enough"))
	defer cancel()
	if err := Wait(ctx, waiter); err == nil || err.Error() != "enough" {
		t.Errorf("%v, want the cause of the context's end", err)
	}
	third := open(t, path)
	time.AfterFunc(2*pollEvery, func() { holder.Close() })
	if err := Wait(t.Context(), third); err != nil { // the waiter that gave up does not take the lock
		t.Error(err)
	}
}

// Only EWOULDBLOCK means that another process has the lock.
func TestErrors(t *testing.T) {
	t.Cleanup(func() { flock = unix.Flock })
	f := open(t, filepath.Join(t.TempDir(), "lock"))
	for errno, want := range map[unix.Errno]string{
		unix.ENOLCK: "refuses locks", unix.EOPNOTSUPP: "refuses locks", unix.EIO: "lock " + f.Name(),
	} {
		flock = func(int, int) error { return errno }
		for _, err := range []error{Exclusive(f), Shared(f), Wait(t.Context(), f)} {
			if errors.Is(err, ErrInUse) || !errors.Is(err, errno) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v, want one that says %q and is not ErrInUse", errno, err, want)
			}
		}
	}
	n := 0
	flock = func(int, int) error {
		if n++; n < 3 {
			return unix.EINTR
		}
		return nil
	}
	if err := Exclusive(f); err != nil || n != 3 {
		t.Errorf("after %d calls, two of them interrupted: %v", n, err)
	}
}

func TestWaitAny(t *testing.T) {
	paths := []string{filepath.Join(t.TempDir(), "0"), filepath.Join(t.TempDir(), "1")}
	openAll := func() (files []*os.File) {
		for _, path := range paths {
			files = append(files, open(t, path))
		}
		return files
	}
	first, second, third := openAll(), openAll(), openAll()
	for want, files := range [][]*os.File{first, second} {
		if got, err := Any(files); got != want || err != nil {
			t.Errorf("%d, %v, want lock %d", got, err, want)
		}
	}
	if _, err := Any(third); !errors.Is(err, ErrInUse) {
		t.Errorf("%v, want %v", err, ErrInUse)
	}
	time.AfterFunc(2*pollEvery, func() { second[1].Close() })
	if got, err := WaitAny(t.Context(), third); got != 1 || err != nil {
		t.Errorf("%d, %v, want lock 1, which was released", got, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := WaitAny(ctx, openAll()); err == nil || err.Error() != "enough" {
		t.Errorf("%v, want the cause of the context's end", err)
	}
}
