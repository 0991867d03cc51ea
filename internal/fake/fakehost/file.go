package fakehost

import (
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// A File is an open file. Reads and writes at offsets other than 0 behave like the kernel's
// handlers.
type File struct {
	h      *Host
	path   string
	stream io.ReadWriteCloser // nil unless the file is a stream
	offset int64
	closed bool
}

const lockdownFile = "lockdown_vfs_enabling"

// Open opens a file. Reads of a stream continue where the last one ended. Other files are read
// whole, from the start.
func (h *Host) Open(p string, flag int) (*File, error) {
	f := &File{h: h, path: p}
	if stream, err := h.OpenFile(p, flag); err == nil {
		f.stream = stream
		return f, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	at, n, err := h.find("open", p, true)
	sysfs := strings.HasPrefix(at, "/sys/") && !strings.HasPrefix(at, "/sys/kernel/debug/")
	switch access := flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR); {
	case err != nil:
		return nil, err
	case n.mode.IsDir():
		err = syscall.EISDIR
	case sysfs && (access != os.O_WRONLY && n.mode&0o400 == 0 || access != os.O_RDONLY && n.mode&0o200 == 0):
		err = syscall.EACCES
	case path.Base(at) == lockdownFile && h.s.NumVFs > 0:
		err = syscall.EBUSY
	case path.Base(at) == lockdownFile:
		err = h.change(at, "(open)", func() error { h.lockdowns++; return nil })
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	f.path = at
	return f, nil
}

// Close implements [io.Closer].
func (f *File) Close() error {
	if f.closed {
		return &fs.PathError{Op: "close", Path: f.path, Err: fs.ErrClosed}
	}
	f.closed = true
	if f.stream != nil {
		return f.stream.Close()
	}
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	if path.Base(f.path) == lockdownFile {
		f.h.lockdowns--
	}
	return nil
}

// Read implements [io.Reader].
func (f *File) Read(b []byte) (int, error) {
	if f.stream != nil {
		return f.stream.Read(b)
	}
	n, err := f.ReadAt(b, f.offset)
	f.offset += int64(n)
	return n, err
}

// ReadAt implements [io.ReaderAt].
func (f *File) ReadAt(b []byte, offset int64) (int, error) {
	if f.stream != nil && offset != 0 {
		return 0, &fs.PathError{Op: "read", Path: f.path, Err: syscall.ESPIPE}
	}
	text, err := f.h.ReadFile(f.path)
	switch {
	case err != nil:
		return 0, err
	case offset >= int64(len(text)):
		return 0, io.EOF
	}
	return copy(b, text[offset:]), nil
}

// Seek implements [io.Seeker], from the start only.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, &fs.PathError{Op: "seek", Path: f.path, Err: syscall.EINVAL}
	}
	f.offset = offset
	return offset, nil
}

// operations are files whose write starts an operation. Files of numbers ignore the offset.
var operations = []string{"pause", "resume", "stop", "reset", "save", "restore", "restore_auto_provisioning"}

// Write implements [io.Writer].
func (f *File) Write(b []byte) (int, error) {
	base := path.Base(f.path)
	var err error
	switch {
	case f.stream != nil && f.offset == 0:
		return f.stream.Write(b)
	case f.offset != 0 && (f.stream != nil || base == "control"):
		err = syscall.ESPIPE
	case f.offset != 0 && slices.Contains(operations, base):
		err = syscall.EINVAL
	default:
		err = f.h.WriteFile(f.path, b)
	}
	if err != nil {
		return 0, &fs.PathError{Op: "write", Path: f.path, Err: err}
	}
	if base == "control" { // the only handler that advances the offset
		f.offset += int64(len(b))
	}
	return len(b), nil
}

// WriteAt always fails: no file of the kernel can be written at an offset.
func (f *File) WriteAt([]byte, int64) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: f.path, Err: syscall.ESPIPE}
}
