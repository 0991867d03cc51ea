package sysfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"vmtb/bench"
)

// An Opener is an [FS] that can open a file as a stream. A few kernel files hold more than one
// value, such as the state of a GPU's VF. flag is [os.O_RDONLY] or [os.O_WRONLY].
type Opener interface {
	OpenFile(path string, flag int) (io.ReadWriteCloser, error)
}

func (t *Tree) open(path string, flag int) (io.ReadWriteCloser, error) {
	o, ok := t.FS.(Opener)
	if !ok {
		err := fmt.Errorf("reading and writing in pieces is %w", bench.ErrNotAvailable)
		return nil, &bench.HostError{Op: "open", Noun: path, Err: err}
	}
	f, err := o.OpenFile(path, flag)
	return f, HostError("open", path, "", err)
}

// pieceSize is how many bytes of a stream are copied at once.
const pieceSize = 1 << 20

// Pull copies a file to w, up to the file's end. It returns when ctx ends, even if the kernel does
// not return from a read; w is not used after that. Errors of w are returned unchanged.
func (t *Tree) Pull(ctx context.Context, path string, w io.Writer) (int64, error) {
	f, err := t.open(path, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, pieceSize)
	for moved := int64(0); ; {
		var n int
		err := within(ctx, func() (err error) { n, err = f.Read(buf); return err }, f)
		if abandoned(err) {
			return moved, HostError("read", path, "", err)
		}
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return moved, errors.Join(err, f.Close())
			}
			moved += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return moved, HostError("read", path, "", f.Close())
		}
		if err != nil {
			return moved, errors.Join(HostError("read", path, "", err), f.Close())
		}
	}
}

// Push copies r to a file, up to r's end. It returns when ctx ends, even if the kernel does not
// return from a write. Errors of r are returned unchanged. The caller must make sure that r does
// not block for ever.
func (t *Tree) Push(ctx context.Context, path string, r io.Reader) (int64, error) {
	f, err := t.open(path, os.O_WRONLY)
	if err != nil {
		return 0, err
	}
	for moved := int64(0); ; {
		// A new buffer for each write: the write may outlive this call.
		buf := make([]byte, pieceSize)
		n, readErr := io.ReadFull(r, buf)
		if n > 0 {
			err := within(ctx, func() error { _, err := f.Write(buf[:n]); return err }, f)
			if abandoned(err) {
				return moved, HostError("write", path, "", err)
			}
			if err != nil {
				return moved, errors.Join(HostError("write", path, "", err), f.Close())
			}
			moved += int64(n)
		}
		switch {
		case errors.Is(readErr, io.EOF), errors.Is(readErr, io.ErrUnexpectedEOF):
			return moved, HostError("write", path, "", f.Close())
		case readErr != nil:
			return moved, errors.Join(readErr, f.Close())
		}
	}
}

// Await returns the trimmed content of a file whose read blocks until an event. It returns when ctx
// ends, even if the kernel does not return from the read.
func (t *Tree) Await(ctx context.Context, path string) (string, error) {
	var s string
	var err error
	if gone := within(ctx, func() error { s, err = t.Text(path); return nil }, nil); gone != nil {
		return "", HostError("read", path, "", gone)
	}
	return s, err
}

// An abandonedError is the error if ctx ended before the kernel returned.
type abandonedError struct{ error }

func (e *abandonedError) Unwrap() error { return e.error }

func abandoned(err error) bool {
	a := (*abandonedError)(nil)
	return errors.As(err, &a)
}

// within calls f. It returns when f does, or when ctx ends. In the second case f goes on in the
// background, so f must not share data with the caller. Then c, if it is not nil, is closed after f
// returns.
func within(ctx context.Context, f func() error, c io.Closer) error {
	var result error
	done := make(chan struct{})
	release := func() {
		<-done
		if c != nil {
			_ = c.Close() // the caller has gone: the error has no receiver
		}
	}
	if ctx.Err() != nil {
		close(done)
		release()
		return &abandonedError{context.Cause(ctx)}
	}
	go func() {
		result = f()
		close(done)
	}()
	select {
	case <-done:
		return result
	case <-ctx.Done():
		go release()
		return &abandonedError{fmt.Errorf("%w; the kernel has not returned from it", context.Cause(ctx))}
	}
}
