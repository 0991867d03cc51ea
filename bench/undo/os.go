package undo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/internal/atomicfile"
	"vmtb/internal/procfs"
)

// OS is the host that this process runs on.
type OS struct{}

var _ System = OS{}

// ReadFile reads a whole file.
func (OS) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }

// WriteFile implements [System].
func (OS) WriteFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	n, err := unix.Write(int(f.Fd()), data) // os.File would go on after a short write
	if err != nil {
		err = &fs.PathError{Op: "write", Path: path, Err: err}
	} else if n < len(data) {
		err = &fs.PathError{Op: "write", Path: path, Err: fmt.Errorf("only %d of %d bytes written", n, len(data))}
	}
	return errors.Join(err, f.Close())
}

// Readlink reads a link.
func (OS) Readlink(path string) (string, error) { return os.Readlink(path) }

// Stat does not follow links.
func (OS) Stat(path string) (fs.FileInfo, error) { return os.Lstat(path) }

// ReadDir lists a directory, sorted by name.
func (OS) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }

// Remove removes a file or an empty directory.
func (OS) Remove(path string) error { return os.Remove(path) }

// RemoveAll removes path and everything below it. It does not follow links.
func (OS) RemoveAll(path string) error { return os.RemoveAll(path) }

// SyncDir implements [System]. A file system without sync (EINVAL) needs none: it keeps nothing
// after a crash.
func (OS) SyncDir(path string) error { return atomicfile.SyncDir(path) }

// RemoveModule implements [System]. It removes only this module. modprobe -r would also remove
// modules that nobody else uses, such as the PF's driver below its VFIO variant.
func (OS) RemoveModule(_ context.Context, name string) error {
	if err := unix.DeleteModule(strings.ReplaceAll(name, "-", "_"), unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("remove module %s: %w", name, err)
	}
	return nil
}

// Kill implements [System]. It opens the pidfd before it checks the identity, so that the pid
// cannot be reused in between.
func (OS) Kill(ctx context.Context, p Process) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pidfd_open %d: %w", p.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if now, err := ProcessOf(p.PID); err != nil || now != p {
		return ignoreGone(err)
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill %d (%s): %w", p.PID, p.Comm, err)
	}
	return waitExit(ctx, fd, p)
}

// waitExit waits until a pidfd becomes readable, which means that the process has ended.
func waitExit(ctx context.Context, fd int, p Process) error {
	const slice = 100 * time.Millisecond // longest delay until the end of ctx is noticed
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(slice.Milliseconds()))
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for %d: %w", p.PID, err)
		case ctx.Err() != nil:
			return fmt.Errorf("process %d (%s) was killed and has not ended: %w", p.PID, p.Comm, context.Cause(ctx))
		}
	}
}

// ProcessOf describes a running process so that it can be recognised later. The error matches
// [fs.ErrNotExist] if there is no such process.
func ProcessOf(pid int) (Process, error) {
	stat, err := procfs.Read(pid)
	if err != nil {
		return Process{}, err
	}
	boot, err := procfs.BootID()
	if err != nil {
		return Process{}, err
	}
	return Process{PID: stat.PID, StartTime: stat.StartTime, Comm: stat.Comm, BootID: boot}, nil
}
