package imagebuild

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"vmtb/bench"
	"vmtb/internal/filecopy"
)

// A Side says which kernel one side of the lab boots, and with which additions: the DUT, or the
// guests.
type Side struct {
	Kernel  Kernel
	Modules []Module // they replace modules of the same name
	Patch   Patch    // only for the lab's own kernel and modules
	// Cmdline is added to the guests' kernel command line, which is part of their image. The DUT's
	// command line is no part of an image.
	Cmdline string
}

// A Kernel names a kernel for one side of the lab. The zero Kernel is the lab's own: the one in its
// root tree.
type Kernel struct {
	Flag string // the flag that the user gave, "--kernel": for messages
	Text string // as the user gave it

	version string // of Debian's archive, "7.2" or "7.2.13+deb14"; or
	tree    string // directory of a built kernel tree; or
	deb     string // file of a kernel package; or
	image   string // file of a bzImage, with
	modules string // the directory of its modules
}

// Own reports whether k is the lab's own kernel.
func (k Kernel) Own() bool { return k.version == "" && k.tree == "" && k.deb == "" && k.image == "" }

// Built reports whether k is a kernel that the user has built, and not one of Debian's archive.
func (k Kernel) Built() bool { return !k.Own() && k.version == "" }

// String returns the text that the user gave, or "" for the lab's own kernel.
func (k Kernel) String() string { return k.Text }

// Absolute returns a text that names the same kernel in every working directory.
func (k Kernel) Absolute() (string, error) {
	if k.Own() || k.version != "" {
		return k.Text, nil
	}
	path, err := filepath.Abs(k.tree + k.deb + k.image) // one of them is set
	if err != nil || k.image == "" {
		return path, err
	}
	modules, err := filepath.Abs(k.modules)
	return path + ":" + modules, err
}

// kernelVersion matches a version of Debian's archive, with or without its last parts.
var kernelVersion = regexp.MustCompile(`^[0-9]+\.[0-9]+(\.[0-9]+)?(\+[a-z0-9.]+)?$`)

// ErrNotBuilt is the cause of an error about a kernel tree, a package or a kernel image that is not
// complete.
var ErrNotBuilt = errors.New("the kernel is not built")

// ErrUnfit is the cause of an error about a kernel that lacks modules.
var ErrUnfit = errors.New("the kernel does not have what a machine needs")

// ParseKernel returns the kernel that text names. Text is a version of Debian's archive ("7.2",
// "7.2.13"), the directory of a built kernel tree, the file of a kernel package (".deb"), or
// "BZIMAGE:DIRECTORY": a kernel image and the directory of its modules. A path that looks like a
// version needs a slash ("./7.2"). An empty text is the lab's own kernel. flag is the name of the
// flag, for messages. Errors are of type [bench.UsageError]; [ErrNotBuilt] is the cause if a tree is
// there and not built.
func ParseKernel(flag, text string) (Kernel, error) {
	k := Kernel{Flag: flag, Text: text}
	if text == "" {
		return Kernel{}, nil
	}
	if kernelVersion.MatchString(text) {
		k.version = text
		return k, nil
	}
	image, modules, pair := strings.Cut(text, ":")
	if pair && image != "" && modules != "" {
		k.image, k.modules = image, modules
		return k, k.checkImage()
	}
	info, err := os.Stat(text)
	switch {
	case err != nil:
		return k, k.usage(
			fmt.Errorf("it is not a version (7.2, 7.2.13), a file or a directory: %w", err), adviceFor(text),
		)
	case info.IsDir():
		k.tree = text
		return k, k.checkTree()
	case strings.HasSuffix(text, ".deb"):
		k.deb = text
		return k, nil
	case strings.HasSuffix(text, ".ko"):
		return k, k.usage(errors.New("it is a module, not a kernel"), "in the lab, --module=FILE.ko gives one module")
	}
	return k, k.usage(
		errors.New("a kernel image alone has no modules"),
		"give BZIMAGE:DIRECTORY, with the directory in which 'make modules_install INSTALL_MOD_PATH=' has put them",
	)
}

// adviceFor returns what to give instead of a text that names no kernel.
func adviceFor(text string) string {
	if strings.HasPrefix(text, "~") {
		return "the shell expands ~ only at the start of a word: write $HOME"
	}
	for _, prefix := range []string{"v", "linux-"} {
		if version, ok := strings.CutPrefix(text, prefix); ok && kernelVersion.MatchString(version) {
			return "the version in Debian's archive is " + version
		}
	}
	return "give a version of Debian's archive, a built kernel tree, a kernel's .deb, or BZIMAGE:DIRECTORY"
}

func (k Kernel) usage(err error, advice string) error {
	return &bench.UsageError{Err: fmt.Errorf("%s=%s: %w", k.Flag, k.Text, err), Advice: advice}
}

// These files of a kernel tree exist once it is built.
const (
	treeImage   = "arch/x86/boot/bzImage"
	treeRelease = "include/config/kernel.release"
	treeOrder   = "modules.order"
)

// checkTree returns an error unless the tree is built.
func (k Kernel) checkTree() error {
	for _, file := range []string{treeImage, treeRelease, treeOrder} {
		_, err := os.Stat(filepath.Join(k.tree, file))
		if err == nil {
			continue
		}
		advice := "build it with 'make bzImage modules'; of a tree built with O=DIR, give DIR"
		if _, no := os.Stat(filepath.Join(k.tree, "Makefile")); no != nil {
			advice = "the directory has no Makefile: give the top of a kernel tree, or the DIR of its O=DIR"
		}
		return k.usage(fmt.Errorf("%w: there is no %s", ErrNotBuilt, file), advice)
	}
	return nil
}

// checkImage returns an error unless the kernel image and the modules exist.
func (k Kernel) checkImage() error {
	info, err := os.Stat(k.image)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", k.image)
	}
	var dir string
	if err == nil {
		dir, err = k.modulesDir()
	}
	if err != nil {
		return k.usage(fmt.Errorf("%w: %w", ErrNotBuilt, err), "build the kernel, and install its modules")
	}
	release, err := imageRelease(k.image)
	if err != nil {
		return k.usage(fmt.Errorf("%s: %w", k.image, err), "give arch/x86/boot/bzImage of a kernel tree, or a vmlinuz")
	}
	if modules := filepath.Base(dir); release != modules {
		return k.usage(
			fmt.Errorf("the image is Linux %s, and the modules are of Linux %s", release, modules),
			"give the modules of the same kernel",
		)
	}
	return nil
}

// imageRelease returns the release in the header of a kernel image (Documentation/arch/x86/boot.rst of
// Linux: "HdrS" and kernel_version).
func imageRelease(file string) (string, error) {
	const headerEnd, base, magicAt, versionAt = 0x210, 0x200, 0x202, 0x20e
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	header := make([]byte, headerEnd)
	if _, err := f.ReadAt(header, 0); err != nil || string(header[magicAt:magicAt+4]) != "HdrS" {
		return "", errors.New("it is not a kernel image for x86")
	}
	text := make([]byte, 256)
	n, err := f.ReadAt(text, base+int64(binary.LittleEndian.Uint16(header[versionAt:])))
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	release, _, _ := strings.Cut(string(text[:n]), " ")
	return release, nil
}

// modulesDir returns the directory of k's modules that is named after the kernel's release. The
// user may give it, or the directory of "make modules_install INSTALL_MOD_PATH=".
func (k Kernel) modulesDir() (string, error) {
	for _, pattern := range []string{"lib/modules/*", "usr/lib/modules/*", "."} {
		found, err := filepath.Glob(filepath.Join(k.modules, pattern, "modules.order"))
		if err != nil {
			return "", err
		}
		if len(found) > 1 {
			return "", fmt.Errorf("%s has the modules of %d kernels: give the directory of one", k.modules, len(found))
		}
		if len(found) == 1 {
			return filepath.Abs(filepath.Dir(found[0]))
		}
	}
	return "", fmt.Errorf("%s has no modules of a kernel (no lib/modules/*/modules.order)", k.modules)
}

// A kernelSource says where the parts of a kernel come from.
type kernelSource struct {
	title string
	// get puts the kernel's parts into a directory: packages (*.deb), or the file vmlinuz and the directory
	// modules/RELEASE.
	get   func(in string, lock *os.File, log io.Writer) error
	parts []any // they change when the kernel does
}

// source returns where k comes from.
func (b *builder) source(k Kernel) (s kernelSource) {
	if b.err != nil {
		return s
	}
	switch {
	case k.version != "":
		s, b.err = b.archiveSource(k)
	case k.tree != "":
		s, b.err = b.treeSource(k)
	case k.deb != "":
		s, b.err = k.debSource()
	default:
		s, b.err = b.imageSource(k)
	}
	return s
}

// kernel returns the cache entry with k as one file, kernel.tar, or "" for the lab's own kernel.
func (b *builder) kernel(root string, k Kernel) string {
	if b.err != nil || k.Own() || k.version != "" && isRootKernel(root, k) {
		return ""
	}
	s := b.source(k)
	text := b.script(kernelScript)
	return b.entry("kernel", s.title, func(dir *os.File, log io.Writer) error {
		in := filepath.Join(dir.Name(), "work", "in")
		if err := os.MkdirAll(in, 0o755); err != nil {
			return err
		}
		if err := s.get(in, dir, log); err != nil {
			return err
		}
		if err := b.runStage(dir, root, kernelScript, nil, log); err != nil {
			return err
		}
		return b.keep(dir.Name())
	}, append(s.parts, text)...)
}

// kernelScript packs a kernel as kernel.tar.
const kernelScript = "kernel.sh"

// script returns the text of a script of image/.
func (b *builder) script(name string) string {
	text, err := scripts.ReadFile("image/" + name)
	if err != nil && b.err == nil {
		b.err = err
	}
	return string(text)
}

// debSource returns the source of a package's kernel, as "make bindeb-pkg" makes it.
func (k Kernel) debSource() (s kernelSource, err error) {
	id, err := fileID(k.deb)
	if err != nil {
		return s, k.usage(err, "")
	}
	return kernelSource{
		title: "kernel of " + filepath.Base(k.deb),
		get: func(in string, _ *os.File, _ io.Writer) error {
			return filecopy.Copy(filepath.Join(in, "kernel.deb"), k.deb, 0o644)
		},
		parts: []any{"deb", id},
	}, nil
}

// imageSource returns the source of a kernel image and its modules.
func (b *builder) imageSource(k Kernel) (s kernelSource, err error) {
	dir, err := k.modulesDir()
	if err != nil {
		return s, k.usage(err, "")
	}
	id, err := fileID(k.image)
	if err == nil {
		var modules string
		modules, err = treeID(dir)
		id += modules
	}
	if err != nil {
		return s, k.usage(err, "")
	}
	return kernelSource{
		title: "kernel " + filepath.Base(dir),
		get: func(in string, lock *os.File, log io.Writer) error {
			if err := filecopy.Copy(filepath.Join(in, "vmlinuz"), k.image, 0o644); err != nil {
				return err
			}
			to := filepath.Join(in, "modules")
			if err := os.Mkdir(to, 0o755); err != nil {
				return err
			}
			return run(b.ctx, lock, log, "cp", "-rL", "--no-preserve=ownership", dir, to)
		},
		parts: []any{"image", id},
	}, nil
}

// fileID tells files of the same path apart: by size and time.
func fileID(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d %d\n", path, info.Size(), info.ModTime().UnixNano()), nil
}

// treeID tells directories of modules apart: by their modules' paths, sizes and times.
func treeID(dir string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(d.Name(), ".ko") && !strings.HasPrefix(d.Name(), "modules.") || d.IsDir() {
			return err
		}
		id, err := fileID(path)
		b.WriteString(id)
		return err
	})
	return b.String(), err
}
