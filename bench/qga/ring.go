package qga

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// A ring is an output on its way through the guest's files path.0, path.1, ... of which at most
// four have anything in them, of 4 MiB each (64 reads of 64 KiB in copyLoop). Two rules make it
// lose nothing: the copier begins a file only when the fourth before it is empty, and the reader
// empties one when it has read it to the end after it had seen something in the next one. No name
// comes twice, so that a file can be emptied once more when it is not known whether it was.
type ring struct {
	client    *Client
	path      string
	now, next ringFile
	begun     int          // the number of next
	held      []byte       // the beginning of next
	deliver   func([]byte) // gets what comes
}

func newRing(c *Client, path string, deliver func([]byte)) *ring {
	r := &ring{client: c, path: path, deliver: deliver}
	r.now = r.file(0)
	r.begin(1)
	return r
}

func (r *ring) file(n int) ringFile {
	return ringFile{file: file{client: r.client, path: fmt.Sprintf("%s.%d", r.path, n)}}
}

func (r *ring) begin(n int) { r.begun, r.next = n, r.file(n) }

// step moves a chunk, if there is one; moved says that there may be more. After an error it can be
// called again, and nothing is lost.
func (r *ring) step(ctx context.Context) (moved bool, err error) {
	data, err := r.now.read(ctx)
	switch {
	case err != nil:
		return false, err
	case len(data) > 0:
		r.deliver(data)
		return true, nil
	case len(r.held) == 0: // the end for now; once there is something in the next file, it is the end for good
		r.held, err = r.next.read(ctx)
		return len(r.held) > 0, err
	}
	if err := r.now.empty(ctx); err != nil {
		return false, err
	}
	r.now.close(ctx)
	r.now = r.next
	r.begin(r.begun + 1)
	r.deliver(r.held)
	r.held = nil
	return true, nil
}

// close closes the files.
func (r *ring) close(ctx context.Context) {
	r.now.close(ctx)
	r.next.close(ctx)
}

// A ringFile is read while it grows, and before there is one.
type ringFile struct {
	file
	isOpen bool
	offset int64 // of what comes next
	lost   bool  // where the agent is: an answer did not come
}

func (f *ringFile) read(ctx context.Context) (data []byte, err error) {
	if !f.isOpen {
		opened, err := f.client.open(ctx, f.path, "r")
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		f.file, f.isOpen = opened, true
	}
	if f.lost {
		if err := f.seek(ctx, f.offset); err != nil {
			return nil, err
		}
	}
	f.lost = true
	if data, err = f.file.read(ctx); err != nil {
		return nil, err
	}
	f.lost = false
	f.offset += int64(len(data))
	return data, nil
}

// empty gives the file's space back, and lets the copier go on.
func (f *ringFile) empty(ctx context.Context) error {
	return f.client.withFile(ctx, f.path, "w", func(file) error { return nil })
}

func (f *ringFile) close(ctx context.Context) {
	if f.isOpen {
		_ = f.do(ctx, "close", nil, nil) // it was only read from
	}
}
