package initrd

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// These are the paths of the initial RAM disk.
const (
	initFile   = "init"
	idFile     = "vmtb/id"
	modulesDir = "vmtb/modules"
)

// Drivers are the modules that [Run] loads: drivers of QEMU's disks, of file systems of a root, and of
// the agent's port. A kernel may have them built in, or may lack some. They must not be compressed.
func Drivers() []string { return slices.Concat(firstDrivers, otherDrivers, helpers, rootTypes()) }

// Write writes an initial RAM disk for a kernel to w, and the kernel's image to image. program is a vmtb
// without dynamic libraries. kernel is a tar archive of the directory RELEASE, which has the image
// (vmlinuz) and the modules. id tells builds of a kernel with the same release apart.
func Write(w, image io.Writer, program, id string, kernel io.Reader) error {
	c := &cpio{w: w}
	c.dir("dev")
	c.file("dev/console", unix.S_IFCHR|0o600, uint32(unix.Mkdev(5, 1)), 0)
	c.file("dev/null", unix.S_IFCHR|0o666, uint32(unix.Mkdev(1, 3)), 0)
	for _, dir := range []string{"proc", "sys", "root", "vmtb", modulesDir} {
		c.dir(dir)
	}
	c.file(idFile, unix.S_IFREG|0o444, 0, int64(len(id)))
	c.text(id)
	if err := writeProgram(c, program); err != nil {
		return err
	}
	tr := tar.NewReader(kernel)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return c.end()
		}
		if err == nil {
			err = writeModule(c, image, h, tr)
		}
		if err != nil {
			return fmt.Errorf("read the kernel's modules: %w", err)
		}
	}
}

// writeProgram writes the init program.
func writeProgram(c *cpio, program string) error {
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	binary, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	if slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return fmt.Errorf("%s needs dynamic libraries, and cannot start a guest: build it with CGO_ENABLED=0", program)
	}
	c.file(initFile, unix.S_IFREG|0o755, 0, info.Size())
	c.content(io.NewSectionReader(f, 0, info.Size()), info.Size())
	return c.err
}

// writeModule writes one file of the tar archive of a kernel.
func writeModule(c *cpio, image io.Writer, h *tar.Header, content io.Reader) error {
	name := path.Clean(h.Name)
	to := path.Join(modulesDir, name)
	_, inside, _ := strings.Cut(name, "/")
	switch {
	case inside == "vmlinuz":
		_, err := io.Copy(image, content)
		return err
	case h.Typeflag == tar.TypeDir:
		c.dir(to)
	case h.Typeflag == tar.TypeReg:
		c.file(to, unix.S_IFREG|0o644, 0, h.Size)
		c.content(content, h.Size)
	case h.Typeflag == tar.TypeSymlink:
		c.file(to, unix.S_IFLNK|0o777, 0, int64(len(h.Linkname)))
		c.text(h.Linkname)
	default:
		return fmt.Errorf("%s is neither a file, a directory nor a symbolic link", name)
	}
	return c.err
}
