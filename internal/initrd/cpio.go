package initrd

import (
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// A cpio writes an archive in the format "newc" (Documentation/driver-api/early-userspace/buffer-format.rst of
// Linux). After the first error, it writes nothing more.
type cpio struct {
	w    io.Writer
	next uint32 // inode number
	err  error
}

// file starts a file of any type. Its content follows by [cpio.content].
func (c *cpio) file(name string, mode, device uint32, size int64) {
	c.next++
	links := 1
	if mode&unix.S_IFMT == unix.S_IFDIR {
		links = 2
	}
	if c.err == nil && size > 1<<32-1 {
		c.err = fmt.Errorf("%s has %d bytes: %w", name, size, fs.ErrInvalid)
	}
	c.printf(
		"070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", c.next, mode, 0, 0, links, 0, size, 0, 0,
		unix.Major(uint64(device)), unix.Minor(uint64(device)), len(name)+1, 0, name,
	)
	const header = 110
	c.pad(header + int64(len(name)) + 1)
}

// content copies the content of a file.
func (c *cpio) content(r io.Reader, size int64) {
	if c.err == nil {
		_, c.err = io.CopyN(c.w, r, size)
	}
	c.pad(size)
}

// text writes the content of a file.
func (c *cpio) text(s string) {
	c.printf("%s", s)
	c.pad(int64(len(s)))
}

func (c *cpio) dir(name string) { c.file(name, unix.S_IFDIR|0o755, 0, 0) }

// end ends the archive.
func (c *cpio) end() error {
	c.file("TRAILER!!!", 0, 0, 0)
	return c.err
}

func (c *cpio) printf(format string, args ...any) {
	if c.err == nil {
		_, c.err = fmt.Fprintf(c.w, format, args...)
	}
}

// pad fills up to 4 bytes after n bytes.
func (c *cpio) pad(n int64) { c.printf("%s", "\x00\x00\x00"[:(4-n%4)%4]) }
