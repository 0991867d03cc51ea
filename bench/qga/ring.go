package qga

import (
	"context"
	"fmt"
)

// ringSize is the number of files of a ring. With copyLoop's 64 reads of 64 KiB a ring is never more than 16 MiB.
const ringSize = 4

// A ring is an output on its way through the guest's files path.0 to path.3. Two rules make it lose nothing: the copier
// begins a file only when it is empty, and the reader empties one when it has read it to the end after it had seen
// something in the next one.
type ring struct {
	files   [ringSize]ringFile
	at      int          // the file that is read
	held    []byte       // the beginning of the next one
	deliver func([]byte) // gets what comes
}

func newRing(c *Client, path string, deliver func([]byte)) *ring {
	r := &ring{deliver: deliver}
	for i := range r.files {
		r.files[i].file = file{client: c, path: fmt.Sprintf("%s.%d", path, i)}
	}
	return r
}

// step moves a chunk, if there is one; moved says that there may be more. After an error it can be called again, and
// nothing is lost.
func (r *ring) step(ctx context.Context) (moved bool, err error) {
	now, next := &r.files[r.at], &r.files[(r.at+1)%ringSize]
	data, err := now.read(ctx)
	switch {
	case err != nil:
		return false, err
	case len(data) > 0:
		r.deliver(data)
		return true, nil
	case len(r.held) == 0: // the end for now; once there is something in the next file, it is the end for good
		r.held, err = next.read(ctx)
		return len(r.held) > 0, err
	}
	if err := now.empty(ctx); err != nil {
		return false, err
	}
	r.at = (r.at + 1) % ringSize
	r.deliver(r.held)
	r.held = nil
	return true, nil
}

// close closes the files.
func (r *ring) close(ctx context.Context) {
	for _, f := range r.files {
		if f.isOpen {
			_ = f.do(ctx, "close", nil, nil) // they were only read from
		}
	}
}

// A ringFile is read while it grows.
type ringFile struct {
	file
	isOpen bool
	offset int64 // of what comes next
	lost   bool  // where the agent is: an answer did not come
}

func (f *ringFile) read(ctx context.Context) (data []byte, err error) {
	if !f.isOpen {
		if f.file, err = f.client.open(ctx, f.path, "r"); err != nil {
			return nil, err
		}
		f.isOpen = true
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

// empty gives the file's space back, and with that the file to the copier.
func (f *ringFile) empty(ctx context.Context) error {
	if err := f.client.withFile(ctx, f.path, "w", func(file) error { return nil }); err != nil {
		return err
	}
	f.offset, f.lost = 0, true
	return nil
}
