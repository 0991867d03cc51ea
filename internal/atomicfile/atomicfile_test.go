package atomicfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// only checks that a directory has exactly these entries, and so no temporary file.
func only(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("%s has %q, want %q", dir, names, want)
	}
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	must(t, os.WriteFile(path, []byte("old and long"), 0o600))
	must(t, os.Chmod(path, 0o640|fs.ModeSetgid))
	f, err := Create(path, 0o644)
	must(t, err)
	only(t, dir, "file") // there may be hours until the first Write: a kill -9 leaves nothing
	_, err = io.WriteString(f, "new")
	must(t, err)
	if got := read(t, path); got != "old and long" {
		t.Errorf("before Commit: %q", got)
	}
	must(t, f.Commit())
	must(t, f.Discard()) // as a deferred call
	info, err := os.Stat(path)
	must(t, err)
	if got := read(t, path); got != "new" || info.Mode() != 0o640|fs.ModeSetgid {
		t.Errorf("%q, mode %v", got, info.Mode())
	}
	only(t, dir, "file")

	f, err = Create(path, 0o644)
	must(t, err)
	_, err = io.WriteString(f, "newer")
	must(t, errors.Join(err, f.Discard()))
	if got := read(t, path); got != "new" {
		t.Errorf("after Discard: %q", got)
	}
	only(t, dir, "file")
}

func TestNew(t *testing.T) {
	dir := t.TempDir()
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	must(t, WriteFile(filepath.Join(dir, "a"), nil, 0o666))
	long := strings.Repeat("x", 255) // the longest possible name
	must(t, WriteFile(filepath.Join(dir, long), []byte("data"), 0o600))
	for name, mode := range map[string]fs.FileMode{"a": 0o640, long: 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%v, %v, want mode %v", info, err, mode)
		}
	}
	only(t, dir, "a", long)
	t.Chdir(dir)
	must(t, WriteFile("relative", []byte("here"), 0o644))
	if got := read(t, filepath.Join(dir, "relative")); got != "here" {
		t.Errorf("%q", got)
	}
}

func TestOwnerStays(t *testing.T) {
	asRoot(t)
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o600))
	must(t, os.Chown(path, 65534, 12))
	must(t, os.Chmod(path, 0o750|fs.ModeSetuid))
	must(t, WriteFile(path, []byte("x"), 0o644))
	info, err := os.Stat(path)
	must(t, err)
	if s := info.Sys().(*syscall.Stat_t); s.Uid != 65534 || s.Gid != 12 || s.Mode != unix.S_IFREG|0o4750 {
		t.Errorf("owner %d:%d, mode %o", s.Uid, s.Gid, s.Mode)
	}
}

func TestLinks(t *testing.T) {
	dir := t.TempDir()
	other := t.TempDir()
	must(t, os.WriteFile(filepath.Join(other, "file"), []byte("old"), 0o644))
	links := map[string]string{
		"absolute": filepath.Join(other, "file"), "chain": "absolute", "dangling": "not-there", "dir": other,
		"loop":    "loop",
		"nowhere": "no/such/dir",
	}
	for name, to := range links {
		must(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	for _, name := range []string{"absolute", "chain", "dangling", "dir/file"} {
		path := filepath.Join(dir, name)
		must(t, WriteFile(path, []byte(name), 0o644))
		if got := read(t, path); got != name {
			t.Errorf("through %s: %q", name, got)
		}
	}
	for name, to := range links {
		if got, err := os.Readlink(filepath.Join(dir, name)); err != nil || got != to {
			t.Errorf("link %s: %q, %v, want %q", name, got, err, to)
		}
	}
	only(t, other, "file")
	for name, want := range map[string]error{
		"loop": unix.ELOOP, "nowhere": fs.ErrNotExist, "missing/x": fs.ErrNotExist, "absolute/": unix.ENOTDIR,
		"new/": unix.EISDIR,
	} {
		if _, err := Create(dir+"/"+name, 0o644); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestDevice(t *testing.T) {
	asRoot(t)
	path := filepath.Join(t.TempDir(), "null")
	if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Skipf("mknod: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(path, link))
	for _, name := range []string{path, link} {
		must(t, WriteFile(name, []byte("gone"), 0o644))
		f, err := Stream(name, 0o644)
		must(t, err)
		_, err = f.WriteString("gone")
		must(t, errors.Join(err, f.Close()))
	}
	info, err := os.Lstat(path)
	must(t, err)
	if s := info.Sys().(*syscall.Stat_t); s.Mode&unix.S_IFMT != unix.S_IFCHR || s.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("the device is now %v", info.Mode())
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is now %v, %v", info.Mode(), err)
	}
}

func TestFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(path, 0o600))
	for _, write := range []func() error{
		// more than a pipe's buffer
		func() error { return WriteFile(path, bytes.Repeat([]byte("0123456789"), 20000), 0o644) },
		func() error {
			f, err := Stream(path, 0o644)
			must(t, err)
			_, err = f.Write(bytes.Repeat([]byte("0123456789"), 20000))
			return errors.Join(err, f.Close())
		},
	} {
		got := make(chan []byte, 1)
		go func() { // the reader may come later
			data, _ := os.ReadFile(path)
			got <- data
		}()
		must(t, write())
		if data := <-got; len(data) != 200000 {
			t.Errorf("the reader got %d bytes", len(data))
		}
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	defer func(d time.Duration) { fifoTime = d }(fifoTime)
	fifoTime = 30 * time.Millisecond
	if _, err := Create(path, 0o644); err == nil ||
		!strings.Contains(err.Error(), "for reading within 30 ms: start its reader first") {
		t.Errorf("without a reader: %v", err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	l, err := net.Listen("unix", "socket")
	must(t, err)
	defer l.Close()
	for path, want := range map[string]string{
		"socket": "is a socket", dir: "is a directory", "": "file does not exist",
	} {
		for _, err := range []error{
			WriteFile(path, nil, 0o644), func() error { _, err := Stream(path, 0o644); return err }(),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want an error that says %q", path, err, want)
			}
		}
	}
	only(t, dir, "socket")
}

// A descriptor from the parent process is written at its current offset: the content of a shell's >
// or >> file stays.
func TestDescriptors(t *testing.T) {
	if path := os.Getenv("VMTB_TEST_WRITE"); path != "" {
		if err := WriteFile(path, []byte("ours\n"), 0o644); err != nil {
			t.Log(err)
		}
		if f, err := Stream(path, 0o644); err == nil {
			_, _ = f.WriteString("streamed\n")
		}
		return
	}
	out := filepath.Join(t.TempDir(), "out")
	link := filepath.Join(t.TempDir(), "stdout")
	must(t, os.Symlink("/proc/self/fd/1", link))
	for path, written := range map[string]bool{
		"/dev/stdout": true, "/dev/fd/1": true, "/proc/self/fd/1": true, "/proc/thread-self/fd/1": true, link: true,
		"/dev/fd/3":   true,
		"/dev/fd/4":   false, // only open for reading
		"/dev/fd/477": false,
	} {
		f, err := os.Create(out)
		must(t, err)
		_, err = f.WriteString("before\n")
		must(t, err)
		in, err := os.Open(os.DevNull)
		must(t, err)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDescriptors$", "-test.v")
		cmd.Env = append(os.Environ(), "VMTB_TEST_WRITE="+path)
		cmd.Stdout, cmd.ExtraFiles = f, []*os.File{f, in}
		must(t, cmd.Run())
		_, err = f.WriteString("after\n")
		must(t, errors.Join(err, f.Close(), in.Close()))
		got := read(t, out)
		if !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "after\n") ||
			strings.Contains(got, "\nours\nstreamed\n") != written {
			t.Errorf("%s: %q", path, got)
		}
		if !written && !strings.Contains(got, "descriptor "+filepath.Base(path)) {
			t.Errorf("%s: no error that names the descriptor: %q", path, got)
		}
	}
}

// A path that guesses the number of our own descriptor is refused.
func TestOwnDescriptor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	if err := WriteFile("/dev/fd/"+strconv.Itoa(int(f.Fd())), []byte("x"), 0o644); err == nil ||
		!strings.Contains(err.Error(), "started without") {
		t.Errorf("%v", err)
	}
	if got := read(t, path); got != "" {
		t.Errorf("%q", got)
	}
}

// A file that cannot be replaced is written in place.
func TestInPlace(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	path, host := filepath.Join(dir, "file"), filepath.Join(t.TempDir(), "host")
	must(t, os.WriteFile(path, nil, 0o644))
	must(t, os.WriteFile(host, []byte("old and long"), 0o644))
	if err := unix.Mount(host, path, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("bind mount: %v", err)
	}
	defer func() { must(t, unix.Unmount(path, 0)) }()
	f, err := Create(path, 0o644)
	must(t, err)
	if got := read(t, host); got != "old and long" {
		t.Errorf("before the first Write: %q", got)
	}
	_, err = io.WriteString(f, "new")
	must(t, errors.Join(err, f.Commit()))
	if got := read(t, host); got != "new" {
		t.Errorf("%q", got)
	}
	must(t, WriteFile(path, nil, 0o644))
	if got := read(t, host); got != "" {
		t.Errorf("emptied: %q", got)
	}
	only(t, dir, "file")
}

// Create refuses a target that cannot be written, before there are data to write.
func TestCreateChecks(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("old"), 0o644))
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount: %v", err)
	}
	defer func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) }()
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("old"), 0o644))

	err := WriteFile(filepath.Join(dir, "file"), make([]byte, 1<<20), 0o644)
	if !errors.Is(err, unix.ENOSPC) || read(t, filepath.Join(dir, "file")) != "old" {
		t.Errorf("full: %v", err)
	}
	only(t, dir, "file")
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for _, name := range []string{"file", "new"} {
		path := filepath.Join(dir, name)
		if _, err := Create(path, 0o644); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), path+":") {
			t.Errorf("%s, read only: %v", name, err)
		}
	}
}

// Check returns the error that Create would return, leaves nothing behind, and opens no FIFO.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("old"), 0o644))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	must(t, os.Symlink("new", filepath.Join(dir, "dangling")))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	opened := make(chan struct{})
	go func() {
		data, err := os.ReadFile(filepath.Join(dir, "fifo")) // returns when a writer has come and gone
		if err != nil || string(data) != "data" {
			t.Errorf("the FIFO's reader got %q, %v", data, err)
		}
		close(opened)
	}()
	for name, want := range map[string]error{
		"file": nil, "new": nil, "no/such/dir": nil, "dangling": nil, "fifo": nil,
		"": unix.EISDIR, "loop": unix.ELOOP, "loop/x": unix.ELOOP, "file/x": unix.ENOTDIR, "file/x/y": unix.ENOTDIR,
		"dangling/x":             fs.ErrNotExist,
		strings.Repeat("x", 256): unix.ENAMETOOLONG,
	} {
		path := dir + "/" + name
		if err := Check(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	only(t, dir, "dangling", "fifo", "file", "loop")
	if got := read(t, filepath.Join(dir, "file")); got != "old" {
		t.Errorf("%q", got)
	}
	must(t, WriteFile(filepath.Join(dir, "fifo"), []byte("data"), 0o600))
	<-opened
}
