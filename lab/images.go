package lab

import (
	"context"
	"embed"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmtb/bench"
	"vmtb/internal/cache"
	"vmtb/internal/progress"
)

//go:embed image kmod workload/*.go gpu/*.c gpu/*.h gpu/build.sh gpu/config
var sources embed.FS

// Images are the files that the lab boots.
type Images struct {
	DUT         string // the DUT's disk, raw
	DUTKernel   string
	DUTInitrd   string
	Guest       string // a bootable disk, raw; the DUT has it as GuestImage
	GuestKernel string
	GuestInitrd string

	GPU  GPU    // what the DUT is to have
	QEMU string // the program that runs the DUT; "" is this machine's QEMU

	inUse *cache.Cache // keep clean-up from removing the files for as long as these Images are referred to
}

// BuildOptions say which images [BuildImages] makes.
type BuildOptions struct {
	GPU       GPU      // "" is [DefaultGPU]
	Packages  []string // Debian packages that the DUT has besides its own
	Migration bool     // the DUT can save and migrate VFs. With the stand-ins it always can
}

// extraList is a file of the root tree that is there if it has packages that nobody of ours needs: image/dut.sh then
// leaves out no interpreter.
const extraList = "etc/vmtb-lab-packages"

// GuestImage is where the DUT finds the disk of its guests.
const GuestImage = "/lab/guest.img"

// Build makes the images that are not in the cache yet and returns where they all are. Each stage is made anew when
// anything that goes into it has changed: the packages' names, our files, the modules' sources, an earlier stage. The DUT has
// the extra Debian packages, too.
func Build(ctx context.Context, cacheDir string, p *progress.Progress, extra ...string) (Images, error) {
	return BuildImages(ctx, cacheDir, BuildOptions{Packages: extra}, p)
}

// BuildImages is [Build] for any GPU of the lab.
func BuildImages(ctx context.Context, cacheDir string, o BuildOptions, p *progress.Progress) (Images, error) {
	if err := errors.Join(o.GPU.Check(), checkPackages(o.Packages)); err != nil {
		return Images{}, err
	}
	o.GPU = o.GPU.or()
	if err := mustBeRoot(); err != nil {
		return Images{}, err
	}
	c, err := cache.Open(cacheDir, p)
	if err != nil {
		return Images{}, err
	}
	b := builder{ctx: ctx, cache: c, progress: p}
	images := b.build(o)
	if b.err != nil {
		c.Close()
		return Images{}, b.err
	}
	images.GPU, images.inUse = o.GPU, c
	return images, nil
}

// build makes the images for o.GPU.
func (b *builder) build(o BuildOptions) Images {
	if o.GPU.Real() {
		return b.buildReal(o)
	}
	root := b.root("root", "packages", "root file system (Debian "+suite+")", o.Packages)
	kmod := b.stage("kmod", root, "kmod.sh", "kernel modules (stand-ins for xe and xe-vfio-pci)", nil)
	workload := b.stage("workload", root, "workload.sh", "stand-in workloads", nil)
	guest := b.stage("guest", root, "guest.sh", "guest image", []string{kmod, workload})
	dut := b.stage("dut", root, "dut.sh", "image of the emulated DUT", []string{kmod, guest, workload})
	return imagesIn(dut, guest)
}

func mustBeRoot() error {
	if os.Geteuid() == 0 {
		return nil
	}
	err := errors.New("the lab's images are built in a chroot, which only root may enter")
	return &bench.UsageError{Err: err, Advice: "run as root"}
}

// imagesIn names the files that the stages for DUT and guest have made.
func imagesIn(dut, guest string) Images {
	in := filepath.Join
	return Images{
		DUT: in(dut, "dut.img"), DUTKernel: in(dut, "dut-vmlinuz"), DUTInitrd: in(dut, "dut-initrd"),
		Guest: in(guest, "guest.img"), GuestKernel: in(guest, "guest-vmlinuz"), GuestInitrd: in(guest, "guest-initrd"),
	}
}

// A builder runs the stages one after the other; after the first error they do nothing.
type builder struct {
	ctx      context.Context
	cache    *cache.Cache
	progress *progress.Progress
	err      error
}

// root is the entry with the tree of the Debian packages in the file list of image/, and extra ones.
func (b *builder) root(kind, listFile, title string, extra []string) string {
	list, err := sources.ReadFile("image/" + listFile)
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
	return b.entry(kind, title, func(dir *os.File, log io.Writer) error {
		tree := filepath.Join(dir.Name(), "tree")
		if err := buildRoot(b.ctx, suite, tree, packages, dir, log); err != nil || len(extra) == 0 {
			return err
		}
		return os.WriteFile(filepath.Join(tree, extraList), []byte(strings.Join(extra, "\n")+"\n"), 0o644)
	}, parts...)
}

// stage runs an image script in the root tree. It sees the files of image/ and of kmod/, and those that the earlier
// stages in from have made; what it leaves in out/ is the entry.
func (b *builder) stage(kind, root, script, title string, from []string) string {
	if b.err != nil {
		return ""
	}
	parts := []any{root, script}
	for _, dir := range from {
		parts = append(parts, dir)
	}
	for _, dir := range inputs[kind] {
		sub, err := fs.Sub(sources, dir)
		if err != nil {
			b.err = err
			return ""
		}
		parts = append(parts, dir, sub)
	}
	scripts := []string{"lib.sh", script}
	if strings.HasPrefix(script, "xe-") {
		scripts = append(scripts, "xe-lib.sh")
	}
	for _, name := range scripts {
		text, err := sources.ReadFile("image/" + name)
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

// inputs are the directories of the sources that a stage is made from, beside its script.
var inputs = map[string][]string{
	"kmod":      {"kmod"},
	"workload":  {"workload"},
	"guest":     {"image/guest"},
	"dut":       {"image/dut", "image/guest"},
	"xegpu":     {"gpu"},
	"xegputest": {"gpu"},
	"xeguest":   {"image/guest"},
	"xedut":     {"image/dut", "image/guest"},
}

// runStage runs a script in a root tree. What it makes is in the directory work/out of tmp.
func (b *builder) runStage(tmp *os.File, root, script string, from []string, log io.Writer) error {
	work := filepath.Join(tmp.Name(), "work")
	for _, dir := range []string{"in", "out", "tmp"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.CopyFS(filepath.Join(work, "in"), sources); err != nil {
		return err
	}
	for _, dir := range from {
		if err := linkFiles(dir, filepath.Join(work, "in")); err != nil {
			return err
		}
	}
	return inRoot(b.ctx, filepath.Join(root, "tree"), work, script, tmp, log)
}

// keep keeps what a stage has made, and nothing else.
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
		if _, ok := errors.AsType[*bench.InfraError](err); !ok && b.ctx.Err() == nil {
			err = &bench.InfraError{Op: "build the lab's " + title, Err: err}
		}
		b.err = err
	}
	return dir
}

// linkFiles gives each regular file of from a second name in to.
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
