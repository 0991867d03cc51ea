package sysfs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/sysfs"
	"vmtb/bench/undo"
)

func TestStreams(t *testing.T) {
	tree := &sysfs.Tree{FS: host.OS{}}
	dir := t.TempDir()
	data := bytes.Repeat([]byte("0123456789"), 300_000) // several chunks
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for file, b := range map[string][]byte{from: data, to: nil} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	if n, err := tree.Pull(t.Context(), from, &buf); err != nil || n != int64(len(data)) ||
		!bytes.Equal(buf.Bytes(), data) {
		t.Errorf("Pull: %d, %v", n, err)
	}
	if n, err := tree.Push(t.Context(), to, iotest.HalfReader(&buf)); err != nil || n != int64(len(data)) {
		t.Errorf("Push: %d, %v", n, err)
	}
	if b, err := os.ReadFile(to); err != nil || !bytes.Equal(b, data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if s, err := tree.Await(t.Context(), from); err != nil || len(s) != len(data) {
		t.Errorf("Await: %d, %v", len(s), err)
	}

	var he *bench.HostError
	none := filepath.Join(dir, "none")
	if _, err := tree.Pull(t.Context(), none, io.Discard); !errors.As(err, &he) || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("Pull of nothing: %v", err)
	}
	if _, err := tree.Push(t.Context(), none, strings.NewReader("x")); !errors.As(err, &he) ||
		!errors.Is(err, syscall.ENOENT) {
		t.Errorf("Push to nothing: %v", err)
	}
	if _, err := tree.Pull(t.Context(), from, failing{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Pull to a writer that fails: %v", err)
	}
	if n, err := tree.Push(
		t.Context(), to, io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(io.ErrNoProgress)),
	); n != 2 || !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("Push from a reader that fails: %d, %v", n, err)
	}
	if _, err := tree.Push(t.Context(), "/dev/full", strings.NewReader("x")); !errors.As(err, &he) ||
		!errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Push to a full device: %v", err)
	}
	if _, err := (&sysfs.Tree{FS: undo.OS{}}).Pull(t.Context(), from, &buf); !errors.Is(err, bench.ErrNotAvailable) {
		t.Errorf("Pull without streams: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// An entered is this host's files. It cancels the caller when a call that will hang is about to
// enter the kernel.
type entered struct {
	host.OS
	cancel context.CancelCauseFunc
}

func (e entered) ReadFile(path string) ([]byte, error) {
	e.cancel(io.ErrNoProgress)
	return e.OS.ReadFile(path)
}

func (e entered) OpenFile(path string, flag int) (io.ReadWriteCloser, error) {
	f, err := e.OS.OpenFile(path, flag)
	return enteredFile{f, e.cancel}, err
}

type enteredFile struct {
	io.ReadWriteCloser
	cancel context.CancelCauseFunc
}

func (f enteredFile) Read(p []byte) (int, error) {
	f.cancel(io.ErrNoProgress)
	return f.ReadWriteCloser.Read(p)
}

func (f enteredFile) Write(p []byte) (int, error) {
	f.cancel(io.ErrNoProgress)
	return f.ReadWriteCloser.Write(p)
}

// TestStreamsHang: Pull, Await and Push return although the kernel neither gives nor takes data. A
// FIFO whose other end is open behaves like this.
func TestStreamsHang(t *testing.T) {
	type call func(ctx context.Context, tree *sysfs.Tree, fifo string) error
	for name, do := range map[string]call{
		"Pull": func(ctx context.Context, tree *sysfs.Tree, fifo string) error {
			_, err := tree.Pull(ctx, fifo, io.Discard)
			return err
		},
		"Await": func(ctx context.Context, tree *sysfs.Tree, fifo string) error {
			_, err := tree.Await(ctx, fifo)
			return err
		},
		"Push": func(ctx context.Context, tree *sysfs.Tree, fifo string) error {
			_, err := tree.Push(ctx, fifo, bytes.NewReader(make([]byte, 1<<20))) // more than a pipe's buffer
			return err
		},
	} {
		fifo := filepath.Join(t.TempDir(), "fifo")
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		other, err := os.OpenFile(fifo, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close() // ends the calls that still hang
		ctx, cancel := context.WithCancelCause(t.Context())
		tree := &sysfs.Tree{FS: entered{cancel: cancel}}
		var he *bench.HostError
		if err := do(ctx, tree, fifo); !errors.Is(err, io.ErrNoProgress) || !errors.As(err, &he) ||
			!strings.Contains(err.Error(), "kernel has not returned") {
			t.Errorf("%s: %v", name, err)
		}
		if err := do(ctx, tree, fifo); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%s when ctx has ended: %v", name, err)
		}
	}
}
