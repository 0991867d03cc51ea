package imagebuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"vmtb/bench"
	"vmtb/internal/cache"
	"vmtb/internal/initrd"
	"vmtb/internal/progress"
)

// A GuestKernel is a kernel with which QEMU boots a guest from a disk image.
type GuestKernel struct {
	Image, Initrd string // files
	Release       string // "7.2.13+deb14-amd64"

	inUse *cache.Cache // keeps clean-up from removing the files while this GuestKernel is in use
}

// BuildGuestKernel makes the files for a guest that boots k, unless they are in the cache. It needs no
// root tree and, unless k is of Debian's archive, no network. program is a vmtb without dynamic
// libraries: it is the init program of the initial RAM disk.
func BuildGuestKernel(
	ctx context.Context, cacheDir, program string, k Kernel, p *progress.Progress,
) (GuestKernel, error) {
	for _, tool := range k.tools() {
		if _, err := exec.LookPath(tool.program); err != nil {
			return GuestKernel{}, &bench.InfraError{
				Op: "unpack " + k.Flag + "=" + k.Text, Err: err, Advice: "install the package " + tool.pkg,
			}
		}
	}
	c, err := cache.Open(cacheDir, p)
	if err != nil {
		return GuestKernel{}, err
	}
	b := builder{ctx: ctx, cache: c, progress: p}
	dir, release := b.guestBoot(k, program)
	if b.err != nil {
		c.Close()
		return GuestKernel{}, b.err
	}
	return GuestKernel{
		Image: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd"), Release: release, inUse: c,
	}, nil
}

// A tool is a program, and the package that has it.
type tool struct{ program, pkg string }

// tools returns the programs of this machine that unpack k.
func (k Kernel) tools() []tool {
	tools := []tool{{"depmod", "kmod"}, {"modprobe", "kmod"}, {"xz", "xz-utils"}}
	if k.version != "" {
		tools = append(tools, tool{"apt-get", "apt"})
	}
	if k.version != "" || k.deb != "" {
		tools = append(tools, tool{"dpkg-deb", "dpkg"})
	}
	return tools
}

// neededInGuest are the modules without which a guest with a disk and the agent cannot be used.
const neededInGuest = "virtio_pci virtio_console"

// guestBoot returns the cache entry with the kernel's image and the initial RAM disk, and the kernel's
// release.
func (b *builder) guestBoot(k Kernel, program string) (dir, release string) {
	s := b.source(k)
	plain := strings.Join(append(initrd.Drivers(), "xe"), " ")
	packed := b.entry("guestkernel", s.title, func(dir *os.File, log io.Writer) error {
		work := filepath.Join(dir.Name(), "work")
		for _, name := range []string{"in", "out", "tmp"} {
			if err := os.MkdirAll(filepath.Join(work, name), 0o755); err != nil {
				return err
			}
		}
		if err := s.get(filepath.Join(work, "in"), dir, log); err != nil {
			return err
		}
		err := run(
			b.ctx, dir, log, "env", "work="+work, "plain="+plain, "need="+neededInGuest, "/bin/sh", "-c",
			b.script(kernelScript),
		)
		if err != nil {
			return err
		}
		return b.keep(dir.Name())
	}, append(s.parts, b.script(kernelScript), plain, neededInGuest)...)
	if b.err != nil {
		return "", ""
	}
	data, err := os.ReadFile(filepath.Join(packed, "kernel-release"))
	var id string
	if err == nil {
		id, err = contentID(program)
	}
	if err != nil {
		b.err = &bench.InfraError{Op: "make an initial RAM disk", Err: err}
		return "", ""
	}
	release = strings.TrimSpace(string(data))
	return b.entry("guestboot", "initial RAM disk for Linux "+release, func(dir *os.File, _ io.Writer) error {
		return writeGuestBoot(dir.Name(), packed, program)
	}, packed, id), release
}

// contentID returns a checksum of a file.
func contentID(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeGuestBoot writes the files of an entry of guestBoot into dir. packed is the entry with the
// kernel.
func writeGuestBoot(dir, packed, program string) error {
	kernel, err := os.Open(filepath.Join(packed, "kernel.tar"))
	if err != nil {
		return err
	}
	defer kernel.Close()
	disk, err := os.Create(filepath.Join(dir, "initrd"))
	if err != nil {
		return err
	}
	image, err := os.Create(filepath.Join(dir, "vmlinuz"))
	if err == nil {
		err = initrd.Write(disk, image, program, filepath.Base(packed), kernel)
		err = errors.Join(err, image.Close())
	}
	if err = errors.Join(err, disk.Close()); err != nil {
		return fmt.Errorf("make an initial RAM disk: %w", err)
	}
	return nil
}

// LeastMemoryMiB returns how much memory a guest needs at least to unpack the initial RAM disk, which is
// in memory twice then, beside the kernel.
func (g GuestKernel) LeastMemoryMiB() int {
	const kernel = 96
	info, err := os.Stat(g.Initrd)
	if err != nil {
		return 0 // QEMU's error says more
	}
	return kernel + int(2*info.Size()>>20)
}
