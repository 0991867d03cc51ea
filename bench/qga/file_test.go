package qga_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"vmtb/bench"
	"vmtb/bench/qmp"
	"vmtb/internal/fake/fakeqga"
	"vmtb/internal/fake/fakeqmp"
)

// A disk is a guest's only file. Its operations may fail.
type disk struct {
	content []byte
	most    int               // bytes that a write takes at most
	fails   map[string]string // error text by operation
	silent  string            // the operation without an answer
	at      int
	closed  int
}

func (d *disk) do(op string, then func(raw json.RawMessage) any) func(json.RawMessage) (any, error) {
	return func(raw json.RawMessage) (any, error) {
		if op == "close" {
			d.closed++
		}
		if words := d.fails[op]; words != "" {
			return nil, fakeqmp.Failure{Class: "GenericError", Desc: words}
		}
		if d.silent == op {
			return nil, fakeqmp.ErrSilence
		}
		return then(raw), nil
	}
}

func (d *disk) commands() fakeqga.Commands {
	none := func(json.RawMessage) any { return struct{}{} }
	return fakeqga.Commands{
		"guest-file-open": d.do("open", func(raw json.RawMessage) any {
			if d.at = 0; bytes.Contains(raw, []byte(`"mode":"w"`)) {
				d.content = nil
			}
			return 1000
		}),
		"guest-file-read": d.do("read", func(raw json.RawMessage) any {
			var args struct{ Count int }
			_ = json.Unmarshal(raw, &args)
			part := d.content[d.at:min(len(d.content), d.at+args.Count)]
			d.at += len(part)
			return map[string]any{"count": len(part), "buf-b64": part, "eof": len(part) < args.Count}
		}),
		"guest-file-write": d.do("write", func(raw json.RawMessage) any {
			var args struct {
				Data []byte `json:"buf-b64"`
			}
			_ = json.Unmarshal(raw, &args)
			n := min(len(args.Data), d.most)
			d.content = append(d.content, args.Data[:n]...)
			return map[string]any{"count": n, "eof": false}
		}),
		"guest-file-flush": d.do("flush", none),
		"guest-file-close": d.do("close", none),
	}
}

func TestFiles(t *testing.T) {
	d := &disk{}
	c := serve(t, d.commands())
	all := make([]byte, 600<<10)
	for i := range all {
		all[i] = byte(i * i)
	}
	for i, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 128 << 10, 130 << 10, (64 + 512) << 10, 600 << 10} {
		d.most = 10000 + n
		if n == 1 {
			d.most = 1
		}
		if err := c.WriteFile(t.Context(), "/f", all[:n]); err != nil || !bytes.Equal(d.content, all[:n]) {
			t.Errorf("write %d: %d, %v", n, len(d.content), err)
		}
		got, err := c.ReadFile(t.Context(), "/f")
		if err != nil || !bytes.Equal(got, all[:n]) {
			t.Errorf("read %d: %d, %v", n, len(got), err)
		}
		if d.closed != 2*(i+1) {
			t.Errorf("closed %d times", d.closed)
		}
	}
	d.most = 20000
	if err := c.WriteFile(t.Context(), "/f", all); err != nil || !bytes.Equal(d.content, all) {
		t.Errorf("short writes: %d, %v", len(d.content), err)
	}
	d.most = 0
	if err := c.WriteFile(t.Context(), "/f", all); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("no progress: %v", err)
	}
	if err := c.WriteFile(t.Context(), "/f\x00", all); err == nil {
		t.Error("a path with a NUL")
	}
}

func TestFileErrors(t *testing.T) {
	for op, test := range map[string]struct {
		words string
		want  error
	}{
		"open":  {"failed to open file '/f' (mode: 'w'): No such file or directory", fs.ErrNotExist},
		"write": {"failed to write to file: Device or resource busy", syscall.EBUSY},
		"flush": {"failed to flush file: No space left on device", syscall.ENOSPC},
		"close": {"failed to close handle: Input/output error", syscall.EIO},
	} {
		d := &disk{most: 1 << 20, fails: map[string]string{op: test.words}}
		err := serve(t, d.commands()).WriteFile(t.Context(), "/f", []byte("x"))
		var path *fs.PathError
		if !errors.Is(err, test.want) || !errors.As(err, &path) || path.Op != op || path.Path != "/f" ||
			!errors.As(err, new(*qmp.Error)) {
			t.Errorf("%s: %v", op, err)
		}
		if want := fmt.Sprintf("%s /f: %v", op, test.want); op != "open" && err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
		if (d.closed == 1) != (op != "open") {
			t.Errorf("%s: closed %d times", op, d.closed)
		}
	}
	d := &disk{fails: map[string]string{"read": "failed to read file: words of another country", "close": "also"}}
	_, err := serve(t, d.commands()).ReadFile(t.Context(), "/f")
	var errno syscall.Errno
	if !errors.As(err, new(*qmp.Error)) || errors.As(err, &errno) || d.closed != 1 {
		t.Errorf("unknown words: %v, %v", err, errno)
	}
}

// The client closes the file although ctx has ended.
func TestFileClosedInAnyCase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{silent: "read"}
		c := serve(t, d.commands())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.ReadFile(ctx, "/f"); !errors.Is(err, context.DeadlineExceeded) || d.closed != 1 {
			t.Errorf("%v, closed %d times", err, d.closed)
		}
	})
}

// In both directions a file is streamed in pieces of limited size. An error of the caller's reader
// or writer is returned as an InfraError.
func TestStream(t *testing.T) {
	all := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB
	no := errors.New("no")
	for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, len(all)} {
		d := &disk{most: 50_000}
		c := serve(t, d.commands())
		if err := c.WriteFileFrom(t.Context(), "/f", iotest.HalfReader(bytes.NewReader(all[:n]))); err != nil ||
			!bytes.Equal(d.content, all[:n]) {
			t.Errorf("%d bytes: wrote %d, %v", n, len(d.content), err)
		}
		var got bytes.Buffer
		if err := c.ReadFileTo(t.Context(), "/f", &got); err != nil || !bytes.Equal(got.Bytes(), all[:n]) {
			t.Errorf("%d bytes: read %d, %v", n, got.Len(), err)
		}
		err := c.WriteFileFrom(t.Context(), "/f", io.MultiReader(bytes.NewReader(all[:n]), iotest.ErrReader(no)))
		if !errors.Is(err, no) || !errors.As(err, new(*bench.InfraError)) {
			t.Errorf("%d bytes of a reader that fails: %v", n, err)
		}
		d.content, d.closed = all, 0
		pieces := 0
		err = c.ReadFileTo(t.Context(), "/f", writerFunc(func(p []byte) (int, error) {
			if pieces++; pieces == 2 {
				return 0, no
			}
			if len(p) > 1<<20 {
				t.Errorf("a piece of %d bytes", len(p))
			}
			return len(p), nil
		}))
		if !errors.Is(err, no) || !errors.As(err, new(*bench.InfraError)) || d.closed != 1 {
			t.Errorf("a writer that fails: %v, closed %d times", err, d.closed)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
