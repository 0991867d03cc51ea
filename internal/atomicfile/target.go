package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/internal/prose"
)

// A target is the file that a path leads to.
type target struct {
	path    string // without links, unless through is set
	exists  bool   // the target exists and is a regular file
	through bool   // the target is opened and written, not replaced
	fd      int    // descriptor of this process that the path names, or -1
	fifo    bool
}

// maxLinks is how many links in a path the kernel follows (MAXSYMLINKS of linux/namei.h).
const maxLinks = 40

// find returns the target of path. It follows all links.
func find(path string) (target, error) {
	bad := func(err error) (target, error) { return target{}, &fs.PathError{Op: "write", Path: path, Err: err} }
	if path == "" {
		return bad(fs.ErrNotExist)
	}
	// The kernel refuses links that must not be followed: loops, and links of other users in
	// directories like /tmp (fs.protected_symlinks).
	if _, err := os.Stat(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return target{}, err
	}
	if strings.HasSuffix(path, "/") {
		return bad(unix.EISDIR)
	}
	at := path
	for range maxLinks {
		dir, err := filepath.Abs(filepath.Dir(at))
		if err == nil {
			dir, err = filepath.EvalSymlinks(dir)
		}
		if err != nil {
			return target{}, err
		}
		at = filepath.Join(dir, filepath.Base(at))
		if fd, ok := ownDescriptor(at); ok {
			return target{path: path, through: true, fd: fd}, nil
		}
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return target{path: at, fd: -1}, nil
		}
		if err != nil {
			return target{}, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return classify(path, at, info)
		}
		if onProc(at) { // the link leads to an open file, which may have no name
			return follow(path, at)
		}
		to, err := os.Readlink(at)
		if err != nil {
			return target{}, err
		}
		if at = to; !filepath.IsAbs(to) {
			at = filepath.Join(dir, to)
		}
	}
	return bad(unix.ELOOP)
}

// follow returns the target of a link in /proc to a file that another process has open.
func follow(path, link string) (target, error) {
	info, err := os.Stat(link)
	if err != nil {
		return target{}, err
	}
	t, err := classify(path, link, info)
	t.through = true
	return t, err
}

// classify returns the target for the file at the end of all links.
func classify(path, at string, info fs.FileInfo) (target, error) {
	t := target{path: at, fd: -1}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		t.exists = true
	case mode.IsDir():
		return t, &fs.PathError{Op: "write", Path: path, Err: errors.New("is a directory")}
	case mode&fs.ModeSocket != 0:
		return t, &fs.PathError{
			Op: "write", Path: path, Err: errors.New("is a socket: only files, devices and FIFOs can be written"),
		}
	default:
		t.through, t.fifo = true, mode&fs.ModeNamedPipe != 0
	}
	return t, nil
}

var descriptorRE = regexp.MustCompile(`^/proc/([0-9]+)(?:/task/[0-9]+)?/fd/([0-9]+)$`)

// ownDescriptor returns the descriptor of this process that a path without links names.
func ownDescriptor(path string) (fd int, ok bool) {
	m := descriptorRE.FindStringSubmatch(path)
	if m == nil || m[1] != strconv.Itoa(os.Getpid()) {
		return 0, false
	}
	fd, err := strconv.Atoi(m[2])
	return fd, err == nil
}

// onProc reports whether a link is one of /proc.
func onProc(link string) bool {
	var s unix.Statfs_t
	return unix.Statfs(filepath.Dir(link), &s) == nil && s.Type == unix.PROC_SUPER_MAGIC
}

// mountPoint reports whether something is mounted on path, for instance a file of a container's
// host.
func mountPoint(path string) bool {
	var s unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &s)
	return err == nil && s.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// fifoTime is how long to wait for a FIFO's reader. It is a variable for tests.
var fifoTime = 5 * time.Second

// open opens a target that is written and not replaced.
func (t target) open() (*os.File, error) {
	if t.fd >= 0 {
		return duplicate(t.path, t.fd)
	}
	// Opening does not block.
	flags := unix.O_WRONLY | unix.O_CLOEXEC | unix.O_NOCTTY | unix.O_NONBLOCK
	if t.exists {
		flags |= unix.O_TRUNC
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(fifoTime); ; <-tick.C {
		fd, err := unix.Open(t.path, flags, 0)
		switch {
		case err == nil:
			if err := unix.SetNonblock(fd, false); err != nil { // writing blocks
				return nil, errors.Join(err, unix.Close(fd))
			}
			return os.NewFile(uintptr(fd), t.path), nil
		// open(2): ENXIO means that there is no reader yet
		case errors.Is(err, unix.EINTR), t.fifo && errors.Is(err, unix.ENXIO) && time.Now().Before(late):
			continue
		case t.fifo && errors.Is(err, unix.ENXIO):
			err = fmt.Errorf(
				"nothing has opened this FIFO for reading within %s: start its reader first", prose.Exact(fifoTime),
			)
		}
		return nil, &fs.PathError{Op: "open", Path: t.path, Err: err}
	}
}

// duplicate returns a new descriptor of an open file that this process has inherited.
func duplicate(path string, fd int) (*os.File, error) {
	bad := func(err error) (*os.File, error) { return nil, &fs.PathError{Op: "write", Path: path, Err: err} }
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	// A descriptor with that flag is this program's own.
	if err != nil || fd > 2 && flags&unix.FD_CLOEXEC != 0 {
		return bad(fmt.Errorf("vmtb was started without a descriptor %d", fd))
	}
	if mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || mode&unix.O_ACCMODE == unix.O_RDONLY {
		return bad(errors.Join(err, fmt.Errorf("descriptor %d is not open for writing", fd)))
	}
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return bad(err)
	}
	return os.NewFile(uintptr(n), path), nil
}

// Check checks that [Create] and [Stream] could write the file at path. It leaves no files behind.
// It does not open a FIFO or a device, because that could end the FIFO's reader or start a
// watchdog. For those it checks only permissions. It treats links and descriptors like Create.
// Directories of path that do not exist yet count as existing.
func Check(path string) error {
	for {
		dir := filepath.Dir(path)
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) || dir == path {
			break
		}
		path = dir // path will be a directory, which needs the same permission as a file
	}
	t, err := find(path)
	if err != nil {
		return err
	}
	if t.fd >= 0 {
		f, err := duplicate(t.path, t.fd)
		if err != nil {
			return err
		}
		return f.Close()
	}
	if t.through {
		if err := unix.Access(t.path, unix.W_OK); err != nil {
			return &fs.PathError{Op: "write", Path: path, Err: err}
		}
		return nil
	}
	f := &File{path: t.path, perm: 0o600}
	return errors.Join(f.check(t.exists), f.Discard())
}

// Stream opens a file that is read while it grows, such as a log. It truncates a regular file and
// writes it in place. It treats links, devices, FIFOs and descriptors like [Create].
func Stream(path string, perm fs.FileMode) (*os.File, error) {
	t, err := find(path)
	if err != nil {
		return nil, err
	}
	if t.through {
		return t.open()
	}
	return os.OpenFile(t.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
}

func typeName(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "link"
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeNamedPipe != 0:
		return "FIFO"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "special file"
}
