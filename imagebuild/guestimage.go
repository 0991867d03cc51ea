package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/internal/atomicfile"
	"vmtb/internal/cache"
	"vmtb/internal/progress"
)

// A NewGuest is a disk for guests on real hardware: Debian with systemd, the guest agent and IGT.
type NewGuest struct {
	File     string   // path of the disk, qcow2
	Suite    string   // Debian release, "trixie"
	Packages []string // additional Debian packages
	SizeMiB  int      // of the disk
	Version  string   // of the vmtb that builds it
	Force    bool     // replace File if it exists
}

// smallestGuest is the smallest disk size in MiB that fits the packages that are always installed.
const smallestGuest = 3072

// tooOld are releases without igt_runner, which an image needs.
var tooOld = []string{"buster", "bullseye", "bookworm", "oldstable", "oldoldstable"}

var suiteName = regexp.MustCompile(`^[a-z]{3,20}$`)

func (g NewGuest) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if runtime.GOARCH != "amd64" {
		bad("images can only be made on amd64, and this machine is %s", runtime.GOARCH)
	}
	if !suiteName.MatchString(g.Suite) {
		bad("--suite=%s: want the code name of a Debian release, like trixie", g.Suite)
	}
	if g.SizeMiB < smallestGuest {
		bad("--size: %d MiB is too small, want %d MiB or more", g.SizeMiB, smallestGuest)
	}
	if slices.Contains(tooOld, g.Suite) {
		bad("--suite=%s: this release has no igt_runner; want trixie or newer", g.Suite)
	}
	switch info, err := os.Stat(g.File); {
	case err == nil && !info.Mode().IsRegular():
		bad("%s exists already, and is not a regular file", g.File)
	case err == nil && !g.Force:
		bad("%s exists already: --force replaces it", g.File)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		errs = append(errs, err)
	}
	if dir := filepath.Dir(g.File); !isDir(dir) {
		bad("%s: there is no directory %s", g.File, dir)
	}
	if len(errs) > 0 {
		return &bench.UsageError{Err: errors.Join(errs...)}
	}
	return CheckPackages(g.Packages)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// BuildGuest builds a guest image. It keeps the packages in the cache, so that the next image takes
// less time. The file appears only when it is complete.
func BuildGuest(ctx context.Context, cacheDir string, g NewGuest, p *progress.Progress) error {
	if err := g.check(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return &bench.UsageError{
			Err: errors.New("images are built in a chroot, which only root may enter"), Advice: "run as root",
		}
	}
	c, err := cache.Open(cacheDir, p)
	if err != nil {
		return err
	}
	defer c.Close()
	b := builder{ctx: ctx, cache: c, progress: p}
	root := b.root(nil) // it has the tools
	tree := b.debian(g)
	if b.err != nil {
		return b.err
	}
	return p.Step("disk", func(log io.Writer) error { return b.guestDisk(g, root, tree, log) })
}

// debian returns the cache entry with the tree of a guest image, tree.tar.
func (b *builder) debian(g NewGuest) string {
	list, err := scripts.ReadFile("image/debian-packages")
	if err != nil {
		b.err = errors.Join(b.err, err)
		return ""
	}
	packages := g.packages(string(list))
	return b.entry("debian", "packages of Debian "+g.Suite, func(dir *os.File, log io.Writer) error {
		return buildRoot(b.ctx, g.Suite, filepath.Join(dir.Name(), "tree.tar"), packages, dir, log)
	}, g.Suite, igtSuite, strings.Join(packages, " "), "recipe 2")
}

// packages returns the packages in the file list and the image's additional ones. If the release
// has IGT's tests itself, no package is from another release. "/backports" becomes the name of the
// release's backports.
func (g NewGuest) packages(list string) []string {
	names := slices.Concat(readPackages(list), g.Packages)
	for i, name := range names {
		if hasIGT(g.Suite) {
			name = strings.TrimSuffix(strings.TrimSuffix(name, "/"+igtSuite), "/backports")
		}
		if base, ok := strings.CutSuffix(name, "/backports"); ok {
			name = base + "/" + g.Suite + "-backports"
		}
		names[i] = name
	}
	return names
}

// guestDisk builds the disk, and moves it to its path when it is complete.
func (b *builder) guestDisk(g NewGuest, root, tree string, log io.Writer) error {
	tmp, remove, err := b.cache.Scratch("disk")
	if err != nil {
		return err
	}
	defer remove()
	about := filepath.Join(tmp.Name(), "about")
	if err := os.Mkdir(about, 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf(
		"suite=%s\npackages='%s'\nsize_mib=%d\ndate=%s\nvmtb=%s\n", g.Suite, strings.Join(g.Packages, " "), g.SizeMiB,
		time.Now().UTC().Format(time.DateOnly), g.Version,
	)
	if err := os.WriteFile(filepath.Join(about, "vmtb-image"), []byte(text), 0o644); err != nil {
		return err
	}
	if err := b.runStage(tmp, root, "debian.sh", []string{tree, about}, log); err != nil {
		return err
	}
	return moveTo(b.ctx, filepath.Join(tmp.Name(), "work", "out", "guest.qcow2"), g.File)
}

// moveTo moves a file, perhaps to another file system. The new name appears only with the complete
// file, and not if ctx has ended.
func moveTo(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := atomicfile.Create(to, 0o644)
	if err != nil {
		return &bench.UsageError{Err: err}
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = out.Commit()
	} else {
		err = errors.Join(err, out.Discard())
	}
	if err != nil && ctx.Err() == nil {
		err = &bench.InfraError{Op: "write " + to, Err: err, Advice: "is the disk full? -o chooses another place"}
	}
	return err
}
