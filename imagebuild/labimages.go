package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"vmtb/bench"
	"vmtb/internal/cache"
	"vmtb/internal/progress"
)

// build builds the images. With o.Migration the DUT gets xe and xe-vfio-pci built from the source of
// Debian's kernel, instead of Debian's own xe. Another kernel has its own xe-vfio-pci; if it has
// none, and is of Debian's archive with headers and sources, the DUT gets both modules built from
// these.
func (b *builder) build(o LabOptions) LabImages {
	root := b.root(o.Packages)
	// First the kernels: if the archive lacks one, the user knows before images are built.
	from, own := b.side(root, o.DUT)
	guestFrom, _ := b.side(root, o.Guest)
	gpu := b.gpu(root)
	firmware := b.firmware()
	guest := b.stage("xeguest", root, "xe-guest.sh", titleOf("guest image", o.Guest), guestFrom)
	from = append([]string{guest, firmware}, from...)
	switch {
	case o.Migration && own:
		from = append(from, b.modules(root))
	case o.Migration && b.err == nil && lacksVFIO(from):
		if modules := b.archiveModules(root, o.DUT); modules != "" {
			from = append(from, modules)
		} else if b.err == nil {
			b.progress.Printf("the kernel %s has no xe-vfio-pci: its VFs cannot be saved or migrated", o.DUT.Kernel)
		}
	}
	dut := b.stage("xedut", root, "xe-dut.sh", titleOf("image of the emulated DUT", o.DUT), from)
	in := filepath.Join
	return LabImages{
		DUT: in(dut, "dut.img"), DUTKernel: in(dut, "dut-vmlinuz"), DUTInitrd: in(dut, "dut-initrd"),
		Guest: in(guest, "guest.img"), GuestKernel: in(guest, "guest-vmlinuz"), GuestInitrd: in(guest, "guest-initrd"),
		QEMU: in(gpu, "qemu"),
	}
}

// titleOf adds a side's kernel to the title of the stage that builds its image.
func titleOf(title string, s Side) string {
	if s.Kernel.Own() {
		return title
	}
	return title + ", kernel " + filepath.Base(s.Kernel.String())
}

// side returns the cache entries that the image of a side is built from, beside those that all
// images are built from, and reports whether the side's kernel and xe are the lab's own.
func (b *builder) side(root string, s Side) (from []string, own bool) {
	own = true
	kernel := b.kernel(root, s.Kernel)
	if kernel != "" {
		from, own = append(from, kernel), false
	}
	if len(s.Modules) > 0 {
		b.checkModules(root, kernel, s.Modules)
		from = append(from, b.extraModules(s.Modules))
		own = own && !slices.ContainsFunc(s.Modules, Module.drivesGPU)
	}
	if s.Patch.data != nil {
		from, own = append(from, b.patched(root, s.Patch)), false
	}
	if s.Cmdline != "" {
		from = append(from, b.textFile("cmdline", "kernel command line", s.Cmdline))
	}
	return from, own
}

// lacksVFIO reports whether one of the entries in from is a kernel without xe-vfio-pci.
func lacksVFIO(from []string) bool {
	return slices.ContainsFunc(from, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "kernel-without-vfio"))
		return err == nil
	})
}

// textFile returns the cache entry with a file of this name and content.
func (b *builder) textFile(name, title, text string) string {
	return b.entry(name, title, func(dir *os.File, _ io.Writer) error {
		return os.WriteFile(filepath.Join(dir.Name(), name), []byte(text), 0o644)
	}, text)
}

// backports is the release whose kernel has an xe with SR-IOV.
const backports = suite + "-backports"

// firmware returns the cache entry with the firmware files.
func (b *builder) firmware() string {
	if b.err != nil {
		return ""
	}
	var parts []any
	for _, f := range firmwares {
		parts = append(parts, f.file, string(f.bytes()))
	}
	write := func(dir *os.File, _ io.Writer) error { return writeFirmware(dir.Name()) }
	return b.entry("firmware", "firmware files", write, parts...)
}

// gpu returns the cache entry with the emulated GPU, and a program "qemu" that runs the root tree's
// QEMU with that GPU.
func (b *builder) gpu(root string) string {
	if b.err != nil {
		return ""
	}
	source, version := b.qemuSource(root)
	dir := b.stage("xegpu", root, "xe-gpu.sh", "emulated GPU for QEMU "+version, []string{source})
	if b.err != nil {
		return ""
	}
	err := writeLauncher(filepath.Join(dir, "qemu"), filepath.Join(root, "tree"), filepath.Join(dir, "vmtb-gpu.so"))
	if err != nil {
		b.err = &bench.InfraError{Op: "write the program that starts QEMU", Err: err}
	}
	return dir
}

// qemuSource returns the cache entry with the source of the root tree's QEMU, as Debian publishes
// it.
func (b *builder) qemuSource(root string) (dir, version string) {
	if b.err != nil {
		return "", ""
	}
	version, b.err = packageVersion(b.ctx, root, "qemu-system-x86")
	return b.entry("qemusource", "source of QEMU "+version, func(dir *os.File, log io.Writer) error {
		return b.fetch(dir, []string{suite}, log, "source", "--download-only", "--only-source", "qemu="+version)
	}, version), version
}

// A GPUTest has the files for the tests of the emulated GPU (lab/gpu/qtest).
type GPUTest struct {
	Root      string // root tree with the QEMU that loads the device
	Plain     string // the device, a shared object that includes QEMU's accelerator qtest
	Sanitized string // the same with sanitizers: shared objects to preload, separated by colons

	inUse *cache.Cache // keeps clean-up from removing the files while this GPUTest is in use
}

// BuildGPUTest compiles the emulated GPU for its own tests, from the lab's cached stages. It caches
// the result by its inputs. sources are the lab's sources, as in [LabOptions].
func BuildGPUTest(ctx context.Context, cacheDir string, sources fs.FS, p *progress.Progress) (GPUTest, error) {
	if err := mustBeRoot(); err != nil {
		return GPUTest{}, err
	}
	c, err := cache.Open(cacheDir, p)
	if err != nil {
		return GPUTest{}, err
	}
	b := builder{ctx: ctx, cache: c, progress: p, sources: sources}
	root := b.root(nil)
	source, version := b.qemuSource(root)
	dir := b.stage("xegputest", root, "xe-gputest.sh", "emulated GPU for its tests on QEMU "+version, []string{source})
	if b.err != nil {
		c.Close()
		return GPUTest{}, b.err
	}
	tree := filepath.Join(root, "tree")
	lib := filepath.Join(tree, "usr/lib/x86_64-linux-gnu")
	return GPUTest{
		Root: tree, Plain: filepath.Join(dir, "test.so"),
		Sanitized: strings.Join([]string{
			filepath.Join(lib, "libasan.so.8"), filepath.Join(lib, "libubsan.so.1"), filepath.Join(dir, "sanitized.so"),
		}, ":"),
		inUse: c,
	}, nil
}

// writeLauncher writes a program that runs the QEMU of a root tree with that tree's libraries. So
// this machine's own QEMU does not matter. It loads the GPU into QEMU only, because a shell cannot
// resolve its symbols.
func writeLauncher(file, tree, gpu string) error {
	lib := tree + "/usr/lib/x86_64-linux-gnu"
	text := fmt.Sprintf(`#!/bin/sh
# Debian's QEMU with the lab's emulated GPU.
QEMU_MODULE_DIR='%[1]s/qemu' exec '%[2]s/lib64/ld-linux-x86-64.so.2' --library-path '%[1]s' --preload '%[3]s' \
	'%[2]s/usr/bin/qemu-system-x86_64' -L '%[2]s/usr/share/seabios' -L '%[2]s/usr/share/qemu' "$@"
`, lib, tree, gpu)
	if old, err := os.ReadFile(file); err == nil && string(old) == text {
		return nil // a DUT may be starting with it
	}
	if err := os.WriteFile(file+".new", []byte(text), 0o755); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// modules returns the cache entry with xe and xe-vfio-pci, built from Debian's source of the root
// tree's kernel.
func (b *builder) modules(root string) string {
	if b.err != nil {
		return ""
	}
	kernel, err := rootKernel(root)
	if err != nil {
		b.err = err
		return ""
	}
	version, err := packageVersion(b.ctx, root, "linux-image-"+kernel)
	if err != nil {
		b.err = err
		return ""
	}
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	source := b.entry("linuxsource", "source of Linux "+version, func(dir *os.File, log io.Writer) error {
		return b.fetch(dir, []string{suite, backports}, log, "download", "linux-source-"+major+"."+minor+"="+version)
	}, version)
	const title = "xe and xe-vfio-pci from Debian's source (some minutes)"
	return b.stage("xemodules", root, "xe-modules.sh", title, []string{source})
}

// packageVersion returns the version of an installed package in a root tree.
func packageVersion(ctx context.Context, root, name string) (string, error) {
	database := filepath.Join(root, "tree/var/lib/dpkg")
	out, err := exec.CommandContext(ctx, "dpkg-query", "--admindir="+database, "-W", "-f", "${Version}", name).Output()
	if err == nil && len(out) == 0 {
		err = errors.New("the package is not installed")
	}
	if err != nil {
		return "", &bench.InfraError{
			Op: "find the version of " + name + " in " + root, Err: err, Advice: "run 'vmtb lab clean' and build again",
		}
	}
	return string(out), nil
}

// fetch runs a command of apt-get that downloads files into a directory, from the releases of this
// machine's mirror. apt keeps its state in that directory, so the machine's own package lists do
// not change.
func (b *builder) fetch(into *os.File, releases []string, log io.Writer, command ...string) error {
	mirror, err := debianMirror(b.ctx)
	if err != nil {
		return err
	}
	dir := into.Name()
	state := filepath.Join(dir, "apt")
	a := apt{lists: filepath.Join(state, "lists"), dir: state}
	if err := a.sources(mirror, []string{"deb", "deb-src"}, releases); err != nil {
		return err
	}
	for _, args := range [][]string{{"update"}, command} {
		if err := a.run(b.ctx, into, dir, log, args...); err != nil {
			return err
		}
	}
	return os.RemoveAll(state)
}
