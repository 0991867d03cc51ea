package qga

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// A ring moves an output through the guest's files path.0, path.1, ... At most four of them hold
// data at once, 4 MiB each (64 reads of 64 KiB in copyLoop). Two rules prevent losses. The copier
// begins a file only when the fourth file before it is empty. The reader empties a file after it
// saw data in the next file and then read this one to its end. No name is used twice, so a file can
// be emptied again if the first attempt may have failed.
type ring struct {
	client    *Client
	path      string
	now, next ringFile
	begun     int          // number of the next file
	held      []byte       // the beginning of the next file
	deliver   func([]byte) // called with the data
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

// step moves one chunk, if there is one. moved reports that there may be more. After an error it
// can be called again without a loss.
func (r *ring) step(ctx context.Context) (moved bool, err error) {
	data, err := r.now.read(ctx)
	switch {
	case err != nil:
		return false, err
	case len(data) > 0:
		r.deliver(data)
		return true, nil
	case len(r.held) == 0: // the end for now; it is final once the next file has data
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

// close closes the files in the guest.
func (r *ring) close(ctx context.Context) {
	r.now.close(ctx)
	r.next.close(ctx)
}

// A ringFile is a file that is read while it grows. It may not exist yet.
type ringFile struct {
	file
	isOpen bool
	offset int64 // of the next byte to read
	lost   bool  // the agent's offset is unknown, because an answer did not come
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

// empty truncates the file, so that the copier goes on.
func (f *ringFile) empty(ctx context.Context) error {
	return f.client.withFile(ctx, f.path, "w", func(file) error { return nil })
}

func (f *ringFile) close(ctx context.Context) {
	if f.isOpen {
		_ = f.do(ctx, "close", nil, nil) // only read, so an error does not matter
	}
}
