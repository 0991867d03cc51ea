package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A File is a file that is being written. The caller must end it with [File.Commit] or
// [File.Discard].
type File struct {
	path    string // the target, without links
	perm    fs.FileMode
	f       *os.File // nil before the first Write if the target will be replaced
	temp    bool     // f is a temporary file
	inPlace bool     // f is the target, a regular file that the first Write truncates
	err     error    // first error of Write
}

// Create begins to write the file at path, and checks that it can be written. If it is a FIFO, a
// reader must open it within 5 s.
func Create(path string, perm fs.FileMode) (*File, error) {
	t, err := find(path)
	if err != nil {
		return nil, err
	}
	if t.through {
		f, err := t.open()
		if err != nil {
			return nil, err
		}
		return &File{f: f}, nil
	}
	f := &File{path: t.path, perm: perm}
	return f, f.check(t.exists)
}

// check opens the target, or makes and removes a temporary file, to find out whether the target can
// be written.
func (f *File) check(exists bool) error {
	var target *os.File
	if exists {
		var err error
		target, err = os.OpenFile(f.path, os.O_WRONLY, 0)
		// A running program can be replaced, but not written.
		if err != nil && !errors.Is(err, unix.ETXTBSY) {
			return err
		}
	}
	var err error
	if target != nil && mountPoint(f.path) {
		err = unix.EBUSY
	} else if err = f.makeTemp(); err == nil {
		err = f.Discard()
	}
	if err != nil && target != nil && cannotReplace(err) {
		f.f, f.inPlace = target, true
		return nil
	}
	if target != nil {
		err = errors.Join(err, target.Close())
	}
	return err
}

// cannotReplace reports whether the target may be writable in place although making a temporary
// file failed with err.
func cannotReplace(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.EBUSY)
}

// makeTemp makes the temporary file with the mode and owner of the target.
func (f *File) makeTemp() error {
	info, err := os.Lstat(f.path)
	exists := err == nil
	perm := f.perm
	switch {
	case exists && !info.Mode().IsRegular():
		return &fs.PathError{Op: "replace", Path: f.path, Err: fmt.Errorf("is now a %s", typeName(info.Mode()))}
	case exists:
		perm = 0o600
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	name := filepath.Join(filepath.Dir(f.path), ".vmtb-"+rand.Text()[:12]+".tmp")
	temp, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		// the temporary name means nothing to users
		return &fs.PathError{Op: "write", Path: f.path, Err: errors.Unwrap(err)}
	}
	if exists {
		err = adopt(temp, info)
	}
	if err != nil {
		return errors.Join(err, temp.Close(), os.Remove(name))
	}
	f.f, f.temp = temp, true
	return nil
}

// adopt gives f the owner and the mode of another file.
func adopt(f *os.File, like fs.FileInfo) error {
	own, err := f.Stat()
	if err != nil {
		return err
	}
	is, ok := own.Sys().(*syscall.Stat_t)
	want, ok2 := like.Sys().(*syscall.Stat_t)
	if ok && ok2 && (is.Uid != want.Uid || is.Gid != want.Gid) {
		if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil {
			return err
		}
	}
	return f.Chmod(like.Mode()) // after chown, which clears the set-user-ID bit
}

// Write implements [io.Writer].
func (f *File) Write(p []byte) (int, error) {
	if f.err == nil {
		f.err = f.begin()
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.f.Write(p)
	f.err = err
	return n, err
}

// begin opens f.f for the first Write.
func (f *File) begin() error {
	if f.f == nil {
		return f.makeTemp()
	}
	if f.inPlace {
		f.inPlace = false
		return f.f.Truncate(0)
	}
	return nil
}

// Commit makes the written data the durable content of the target. After an error, including one of
// Write, a target that would be replaced is unchanged.
func (f *File) Commit() error {
	if f.err == nil {
		f.err = f.begin()
	}
	if f.err == nil && f.path != "" {
		f.err = f.f.Sync()
	}
	if f.err != nil {
		return errors.Join(f.err, f.Discard())
	}
	temp := f.f.Name()
	err := f.f.Close()
	if f.f = nil; !f.temp {
		return err
	}
	if err == nil {
		err = os.Rename(temp, f.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return SyncDir(filepath.Dir(f.path))
}

// Discard drops the written data. After [File.Commit] it does nothing.
func (f *File) Discard() error {
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	if f.temp {
		err = errors.Join(err, os.Remove(f.f.Name()))
	}
	f.f, f.temp = nil, false
	return err
}

// WriteFile replaces the content of the file at path with data.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	f, err := Create(path, perm)
	if err != nil {
		return err
	}
	_, _ = f.Write(data) // Commit returns its error
	return f.Commit()
}

// SyncDir makes the names in a directory durable. A file system without sync (EINVAL) needs none:
// it keeps nothing after a crash.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err = d.Sync(); errors.Is(err, unix.EINVAL) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
