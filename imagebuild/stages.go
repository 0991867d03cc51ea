package imagebuild

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"vmtb/bench"
	"vmtb/internal/cache"
	"vmtb/internal/progress"
)

//go:embed image
var scripts embed.FS

// LabImages are the files that the lab boots.
type LabImages struct {
	DUT         string // the DUT's disk, raw
	DUTKernel   string
	DUTInitrd   string
	Guest       string // a bootable disk, raw, which the DUT also has
	GuestKernel string
	GuestInitrd string

	QEMU string // the program that runs the DUT

	inUse *cache.Cache // keeps clean-up from removing the files while these images are in use
}

// LabOptions says which images [BuildLab] builds.
type LabOptions struct {
	Sources   fs.FS    // the lab's sources: gpu
	Packages  []string // additional Debian packages for the DUT
	Migration bool     // the DUT can save and migrate VFs
	// DUT and Guest say which kernels the two sides boot.
	DUT, Guest Side
}

// extraList is a marker file in the root tree. It means that the tree has additional packages, so
// image/xe-dut.sh must keep all interpreters.
const extraList = "etc/vmtb-lab-packages"

// BuildLab builds the lab's images that are not in the cache yet, and returns the paths of all
// images. It rebuilds a stage if one of its inputs has changed: the packages' names, vmtb's files,
// an earlier stage. It fails unless it runs as root. The caller must have checked the names of
// packages ([CheckPackages]).
func BuildLab(ctx context.Context, cacheDir string, o LabOptions, p *progress.Progress) (LabImages, error) {
	if err := mustBeRoot(); err != nil {
		return LabImages{}, err
	}
	c, err := cache.Open(cacheDir, p)
	if err != nil {
		return LabImages{}, err
	}
	b := builder{ctx: ctx, cache: c, progress: p, sources: o.Sources}
	images := b.build(o)
	if b.err != nil {
		c.Close()
		return LabImages{}, b.err
	}
	images.inUse = c
	return images, nil
}

func mustBeRoot() error {
	if os.Geteuid() == 0 {
		return nil
	}
	err := errors.New("the lab's images are built in a chroot, which only root may enter")
	return &bench.UsageError{Err: err, Advice: "run as root"}
}

// A builder runs the stages one after the other. After the first error, further stages do nothing.
type builder struct {
	ctx      context.Context
	cache    *cache.Cache
	progress *progress.Progress
	sources  fs.FS // the lab's sources; nil if no stage needs them
	err      error
}

// dir returns a directory with inputs of a stage, below image/ or in the lab's sources.
func (b *builder) dir(name string) (fs.FS, error) {
	if strings.HasPrefix(name, "image/") {
		return fs.Sub(scripts, name)
	}
	return fs.Sub(b.sources, name)
}

// root returns the cache entry with the root tree: the Debian packages in image/packages, and those
// in extra.
func (b *builder) root(extra []string) string {
	list, err := scripts.ReadFile("image/packages")
	if err != nil {
		b.err = err
		return ""
	}
	packages := slices.Concat(readPackages(string(list)), extra)
	for i, name := range packages {
		if base, ok := strings.CutSuffix(name, "/backports"); ok {
			packages[i] = base + "/" + backports
		}
	}
	parts := []any{suite, igtSuite, strings.Join(packages, " "), "recipe 2"}
	if len(extra) > 0 {
		parts = append(parts, extraList)
	}
	const title = "root file system (Debian " + suite + ", kernel of " + backports + ")"
	return b.entry("xeroot", title, func(dir *os.File, log io.Writer) error {
		tree := filepath.Join(dir.Name(), "tree")
		if err := buildRoot(b.ctx, suite, tree, packages, dir, log); err != nil || len(extra) == 0 {
			return err
		}
		return os.WriteFile(filepath.Join(tree, extraList), []byte(strings.Join(extra, "\n")+"\n"), 0o644)
	}, parts...)
}

// stage runs an image script in the root tree, and returns the cache entry. The script sees the
// files of image/, the lab's sources, and the output of the earlier stages in from. The entry is
// the content of the script's out/.
func (b *builder) stage(kind, root, script, title string, from []string) string {
	if b.err != nil {
		return ""
	}
	parts := []any{root, script}
	for _, dir := range from {
		parts = append(parts, dir)
	}
	for _, dir := range inputs[kind] {
		sub, err := b.dir(dir)
		if err != nil {
			b.err = err
			return ""
		}
		parts = append(parts, dir, sub)
	}
	names := append(libraries(kind, script), script)
	for _, name := range names {
		text, err := scripts.ReadFile("image/" + name)
		if err != nil {
			b.err = err
			return ""
		}
		parts = append(parts, string(text))
	}
	return b.entry(kind, title, func(dir *os.File, log io.Writer) error {
		if err := b.runStage(dir, root, script, from, log); err != nil {
			return err
		}
		return b.keep(dir.Name())
	}, parts...)
}

// libraries returns the files of image/ that the script of a stage reads. xe is compiled for minutes,
// and so that script reads as little as possible.
func libraries(kind, script string) []string {
	switch {
	case script == archiveModulesScript:
		return []string{"xe-source.sh", "xe-modules.sh"}
	case kind == "xemodules" || kind == "xepatched":
		return []string{"xe-source.sh"}
	case kind == "xeguest" || kind == "xedut":
		return []string{"lib.sh", "xe-lib.sh", "xe-kernel.sh"}
	}
	return []string{"lib.sh", "xe-lib.sh"}
}

// inputs are the directories that a stage uses, besides its script.
var inputs = map[string][]string{
	"xegpu":     {"gpu"},
	"xegputest": {"gpu"},
	"xeguest":   {"image/guest"},
	"xedut":     {"image/dut", "image/guest"},
}

// runStage runs a script in a root tree. The script's output files are in the directory work/out of
// tmp.
func (b *builder) runStage(tmp *os.File, root, script string, from []string, log io.Writer) error {
	work := filepath.Join(tmp.Name(), "work")
	for _, dir := range []string{"in", "out", "tmp"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.CopyFS(filepath.Join(work, "in"), scripts); err != nil {
		return err
	}
	if b.sources != nil {
		if err := os.CopyFS(filepath.Join(work, "in"), b.sources); err != nil {
			return err
		}
	}
	for _, dir := range from {
		if err := linkFiles(dir, filepath.Join(work, "in")); err != nil {
			return err
		}
	}
	return inRoot(b.ctx, filepath.Join(root, "tree"), work, script, tmp, log)
}

// keep keeps the output of a stage, and removes its other files.
func (b *builder) keep(tmp string) error {
	work := filepath.Join(tmp, "work")
	if err := linkFiles(filepath.Join(work, "out"), tmp); err != nil {
		return err
	}
	return os.RemoveAll(work)
}

func (b *builder) entry(kind, title string, build func(dir *os.File, log io.Writer) error, parts ...any) string {
	if b.err != nil {
		return ""
	}
	key, err := cache.Hash(parts...)
	if err != nil {
		b.err = err
		return ""
	}
	dir, err := b.cache.Entry(b.ctx, kind, key, title, func(tmp *os.File) error {
		return b.progress.Step(title, func(show io.Writer) error {
			logFile, err := os.Create(filepath.Join(tmp.Name(), "build.log"))
			if err != nil {
				return err
			}
			defer logFile.Close()
			return build(tmp, io.MultiWriter(logFile, show))
		})
	})
	if err != nil {
		infra, ok := errors.AsType[*bench.InfraError](err)
		switch {
		case ok && unfit.MatchString(infra.Evidence):
			err = &bench.UsageError{Err: fmt.Errorf("%w: %s", ErrUnfit, unfit.FindString(infra.Evidence))}
		case !ok && b.ctx.Err() == nil:
			err = &bench.InfraError{Op: "build the " + title, Err: err}
		}
		b.err = err
	}
	return dir
}

// unfit matches the line of a script that refuses the user's kernel.
var unfit = regexp.MustCompile(`(?m)^(?:Linux \S+ lacks modules|The package must have|The package has no) .*$`)

// linkFiles hard-links each regular file of from into to.
func linkFiles(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == "build.log" {
			continue
		}
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
