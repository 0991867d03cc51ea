package qga

import (
	"context"
	"errors"
	"io"

	"vmtb/bench"
)

// chunk is how many bytes of a file go in one message. Reading a whole file begins with short
// chunks and continues with long ones. In an emulated guest long chunks are a quarter faster
// (BenchmarkReadFile), but the agent clears as much memory as the client asks for (g_malloc0 in
// qga/commands-posix.c).
const (
	chunk     = 64 << 10
	longChunk = 512 << 10
)

// ReadFile returns the whole content of a guest's file, of any size. For a missing file the error
// matches [fs.ErrNotExist]. Do not use it for files whose read blocks: the agent does nothing else
// meanwhile.
func (c *Client) ReadFile(ctx context.Context, path string) (data []byte, err error) {
	err = c.withFile(ctx, path, "r", func(f file) error {
		data, err = f.readAll(ctx)
		return err
	})
	return data, err
}

// WriteFile replaces the content of a guest's file with data. It returns the errors of the file
// system or driver, including late ones. Up to 4096 bytes reach the kernel in one write, as sysfs
// requires.
func (c *Client) WriteFile(ctx context.Context, path string, data []byte) error {
	return c.withFile(ctx, path, "w", func(f file) error { return f.writeAll(ctx, data) })
}

// ReadFileTo writes the content of a guest's file of any size to w. It holds at most two chunks in
// memory. An error of w is a [bench.InfraError].
func (c *Client) ReadFileTo(ctx context.Context, path string, w io.Writer) error {
	return c.withFile(ctx, path, "r", func(f file) error {
		return f.readEach(ctx, func(data []byte) error {
			if _, err := w.Write(data); err != nil {
				return &bench.InfraError{Op: "pass on the content of " + path, Err: err}
			}
			return nil
		})
	})
}

// WriteFileFrom replaces the content of a guest's file with the data from r, of any size. It holds
// one chunk in memory. An error of r is a [bench.InfraError]; the file then has the data before the
// error.
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
				return &bench.InfraError{Op: "read the input for " + path, Err: readErr}
			}
		}
	})
}

// A file is a file that the agent has open.
type file struct {
	client *Client
	path   string
	handle int64
}

// open opens a file. mode is a mode of fopen.
func (c *Client) open(ctx context.Context, path, mode string) (file, error) {
	f := file{client: c, path: path}
	err := checkText(path)
	if err == nil {
		err = c.Execute(ctx, "guest-file-open", map[string]any{"path": path, "mode": mode}, &f.handle)
	}
	return f, pathError("open", path, err)
}

// withFile opens a file, calls use and closes the file, even if ctx has ended. It returns the first
// error.
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

// seek moves to offset, counted from the beginning of the file.
func (f file) seek(ctx context.Context, offset int64) error {
	return f.do(ctx, "seek", map[string]any{"offset": offset, "whence": "set"}, nil)
}

// fill reads until buf is full. Otherwise it returns the error that ended reading: io.EOF only at
// the end of r.
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
