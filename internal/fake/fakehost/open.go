package fakehost

import (
	"io"
	"io/fs"
	"os"
	"syscall"
)

// OpenFile opens a file that is read or written as a stream, such as a VF's migration_data. Other
// files are read and written whole: see [Host.ReadFile].
func (h *Host) OpenFile(p string, flag int) (io.ReadWriteCloser, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, n, err := h.find("open", p, true)
	if err == nil && n.open == nil {
		err = &fs.PathError{Op: "open", Path: p, Err: syscall.EINVAL}
	}
	if err != nil {
		return nil, err
	}
	how := "(open)"
	if flag&os.O_WRONLY != 0 {
		how = "(open to write)"
	}
	if err := h.change(at, how, func() error { return nil }); err != nil {
		return nil, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	return n.open(), nil
}
