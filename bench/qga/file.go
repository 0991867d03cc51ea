package qga

import (
	"context"
	"errors"
	"io"

	"vmtb/bench"
)

// chunk is how much of a file goes in one message. Once a file that is read whole has turned out to
// be longer, it comes in long ones: in an emulated guest that is a quarter faster
// (BenchmarkReadFile), but an agent clears as much memory as it is asked for (g_malloc0 in
// qga/commands-posix.c).
const (
	chunk     = 64 << 10
	longChunk = 512 << 10
)

// ReadFile returns a whole file of the guest, of any size and content. A missing one is an error
// matching [fs.ErrNotExist]. It is not for files that make the reader wait: the agent does nothing
// else meanwhile.
func (c *Client) ReadFile(ctx context.Context, path string) (data []byte, err error) {
	err = c.withFile(ctx, path, "r", func(f file) error {
		data, err = f.readAll(ctx)
		return err
	})
	return data, err
}

// WriteFile makes data the whole content of a file of the guest. What the file system or a driver
// has against it comes as an error, also when it says so late. Up to 4096 bytes reach the kernel in
// one write, as attributes in sysfs want it.
func (c *Client) WriteFile(ctx context.Context, path string, data []byte) error {
	return c.withFile(ctx, path, "w", func(f file) error { return f.writeAll(ctx, data) })
}

// ReadFileTo writes a whole file of the guest to w, of any size, with no more than two chunks of it
// in memory. An error of w is a [bench.InfraError].
func (c *Client) ReadFileTo(ctx context.Context, path string, w io.Writer) error {
	return c.withFile(ctx, path, "r", func(f file) error {
		return f.readEach(ctx, func(data []byte) error {
			if _, err := w.Write(data); err != nil {
				return &bench.InfraError{Op: "take the content of " + path, Err: err}
			}
			return nil
		})
	})
}

// WriteFileFrom makes what r has the whole content of a file of the guest, of any size, with a
// chunk of it in memory. An error of r is a [bench.InfraError]; the file then has what came before.
func (c *Client) WriteFileFrom(ctx context.Context, path string, r io.Reader) error {
	return c.withFile(ctx, path, "w", func(f file) error {
		buf := make([]byte, chunk)
		for {
			n, readErr := fill(r, buf)
			if err := f.write(ctx, buf[:n]); err != nil {
				return err
			}
			if errors.Is(readErr, io.EOF) {
				return f.do(ctx, "flush", nil, nil)
			}
			if readErr != nil {
				return &bench.InfraError{Op: "read the content for " + path, Err: readErr}
			}
		}
	})
}

// A file is one that the agent has open.
type file struct {
	client *Client
	path   string
	handle int64
}

// open opens a file; mode is that of fopen.
func (c *Client) open(ctx context.Context, path, mode string) (file, error) {
	f := file{client: c, path: path}
	err := checkText(path)
	if err == nil {
		err = c.Execute(ctx, "guest-file-open", map[string]any{"path": path, "mode": mode}, &f.handle)
	}
	return f, pathError("open", path, err)
}

// withFile opens a file, uses it and closes it, which is done even when ctx has ended. The first
// error wins.
func (c *Client) withFile(ctx context.Context, path, mode string, use func(file) error) (err error) {
	f, err := c.open(ctx, path, mode)
	if err != nil {
		return err
	}
	err = use(f)
	clean, cancel := c.cleanup(ctx)
	defer cancel()
	if failed := f.do(clean, "close", nil, nil); err == nil {
		err = failed
	}
	return err
}

// do runs guest-file-<op>.
func (f file) do(ctx context.Context, op string, args map[string]any, ret any) error {
	all := map[string]any{"handle": f.handle}
	for k, v := range args {
		all[k] = v
	}
	return pathError(op, f.path, f.client.Execute(ctx, "guest-file-"+op, all, ret))
}

// seek goes to a place counted from the beginning.
func (f file) seek(ctx context.Context, offset int64) error {
	return f.do(ctx, "seek", map[string]any{"offset": offset, "whence": "set"}, nil)
}

// fill reads until buf is full, or with the error that ended it before: io.EOF only at the end of
// what r has.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	return n, err
}

func (f file) writeAll(ctx context.Context, data []byte) error {
	if err := f.write(ctx, data); err != nil {
		return err
	}
	return f.do(ctx, "flush", nil, nil)
}

func (f file) write(ctx context.Context, data []byte) error {
	for len(data) > 0 {
		part := data[:min(len(data), chunk)]
		var wrote struct{ Count int }
		if err := f.do(ctx, "write", map[string]any{"buf-b64": part}, &wrote); err != nil {
			return err
		}
		if wrote.Count <= 0 || wrote.Count > len(part) {
			return pathError("write", f.path, io.ErrShortWrite)
		}
		data = data[wrote.Count:]
	}
	return nil
}
