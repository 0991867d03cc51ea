package lab

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A follower copies a file as it grows. The kernel reports every write (inotify), because QEMU's 9p
// server writes on this machine for the DUT.
type follower struct {
	file   *os.File
	notify *os.File
	out    io.Writer
	ended  sync.WaitGroup
	err    error
}

// follow creates path as an empty file, and starts to copy later writes to out.
func follow(path string, out io.Writer) (*follower, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	// non-blocking: os.File polls it, so Close ends a Read
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	notify := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		return nil, errors.Join(err, file.Close(), notify.Close())
	}
	f := &follower{file: file, notify: notify, out: out}
	f.ended.Go(f.run)
	return f, nil
}

func (f *follower) run() {
	events := make([]byte, 4096)
	for {
		if _, err := f.notify.Read(events); err != nil {
			return // stopped
		}
		if f.copy(); f.err != nil {
			return
		}
	}
}

// copy copies new data. It ignores an error of out ("vmtb lab run | head"), because the file has
// everything.
func (f *follower) copy() {
	if _, f.err = io.Copy(f.out, f.file); errors.Is(f.err, unix.EPIPE) {
		f.out, f.err = io.Discard, nil
	}
}

// stop copies the rest and ends.
func (f *follower) stop() error {
	closed := f.notify.Close()
	f.ended.Wait()
	if f.err == nil {
		f.copy()
	}
	return errors.Join(f.err, closed, f.file.Close())
}
