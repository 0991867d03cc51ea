package imagebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/internal/cache"
	"vmtb/internal/progress"
)

// kernelReleases are the releases of Debian whose kernels the lab can boot.
var kernelReleases = []string{suite, backports, igtSuite, "sid"}

// An archiveKernel is a kernel in Debian's archive.
type archiveKernel struct {
	release string // "7.2.13+deb14"
	version string // of its packages, "7.2.13-1"
	// Its packages. Since 6.19 Debian has image, modules and the rest in packages of their own.
	packages []string
	gone     bool // the archive has no modules of it any more
}

// upstream returns the kernel's version without Debian's suffix, "7.2.13".
func (k archiveKernel) upstream() string {
	version, _, _ := strings.Cut(k.release, "+")
	return version
}

// download returns the kernel's packages for "apt-get download".
func (k archiveKernel) download() []string {
	names := make([]string, len(k.packages))
	for i, name := range k.packages {
		names[i] = name + "=" + k.version
	}
	return names
}

var kernelPackage = regexp.MustCompile(`^linux-(image|binary|modules|base)-([0-9][0-9.]*\+deb[0-9]+)-amd64$`)

// parseKernels returns the kernels in the output of "apt-cache madison", oldest first. Its lines
// are "package | version | source". Other packages are ignored.
func parseKernels(madison string) []archiveKernel {
	type part struct{ version, name string }
	parts := map[string]map[string]part{} // by release of the kernel, and kind of the package
	for line := range strings.Lines(madison) {
		f := strings.Split(line, "|")
		if len(f) < 3 {
			continue
		}
		name, version := strings.TrimSpace(f[0]), strings.TrimSpace(f[1])
		m := kernelPackage.FindStringSubmatch(name)
		if m == nil || version == "" {
			continue
		}
		kind, release := m[1], m[2]
		if parts[release] == nil {
			parts[release] = map[string]part{}
		}
		if _, known := parts[release][kind]; !known { // madison lists the newest version first
			parts[release][kind] = part{version, name}
		}
	}
	var kernels []archiveKernel
	for release, of := range parts {
		image, ok := of["image"]
		if !ok {
			continue
		}
		k := archiveKernel{release: release, version: image.version, packages: []string{image.name}}
		if _, split := of["binary"]; split {
			k.packages = nil
			for _, kind := range []string{"binary", "modules", "base"} {
				if of[kind].version != k.version {
					k.gone = true
				} else {
					k.packages = append(k.packages, of[kind].name)
				}
			}
		}
		kernels = append(kernels, k)
	}
	sort.Slice(kernels, func(i, j int) bool { // not slices.SortFunc: it makes the binary larger
		a, b := kernels[i], kernels[j]
		return cmp.Or(compareVersions(a.upstream(), b.upstream()), strings.Compare(b.release, a.release)) < 0
	})
	return kernels
}

// compareVersions compares versions like "7.2.13", number by number.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	return slices.CompareFunc(as, bs, func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return cmp.Compare(x, y)
	})
}

// errUnknownKernel means that the archive has no kernel of that version.
var errUnknownKernel = errors.New("the archive of Debian has no such kernel")

// pickKernel returns the newest of kernels with that version: "7.2" is every 7.2.N. kernels are
// sorted, oldest first.
func pickKernel(kernels []archiveKernel, version string) (archiveKernel, error) {
	gone := false
	for _, k := range slices.Backward(kernels) {
		if k.release != version && k.upstream() != version && !strings.HasPrefix(k.upstream(), version+".") {
			continue
		}
		if !k.gone {
			return k, nil
		}
		gone = true
	}
	if gone {
		return archiveKernel{}, fmt.Errorf("%w any more: it has the image, but not the modules", errUnknownKernel)
	}
	return archiveKernel{}, errUnknownKernel
}

// available lists the versions of kernels for a message: all whole ones, and those without modules.
func available(kernels []archiveKernel) string {
	var whole, gone []string
	for _, k := range kernels {
		if k.gone {
			gone = append(gone, k.upstream())
		} else {
			whole = append(whole, k.upstream())
		}
	}
	text := "it has " + strings.Join(slices.Compact(whole), ", ")
	if len(gone) > 0 {
		text += fmt.Sprintf("; of %s to %s it has images without modules", gone[0], gone[len(gone)-1])
	}
	return text
}

// archiveSource returns the source of a kernel of Debian's archive.
func (b *builder) archiveSource(k Kernel) (s kernelSource, err error) {
	index, found, err := b.findKernel(k)
	if err != nil {
		return s, err
	}
	s.title, s.parts = "kernel "+found.release, []any{"archive", strings.Join(found.download(), " ")}
	s.get = func(in string, lock *os.File, log io.Writer) error {
		a := apt{lists: index, dir: filepath.Join(filepath.Dir(in), "tmp", "apt")}
		err := a.run(b.ctx, lock, in, log, append([]string{"download"}, found.download()...)...)
		if err != nil && b.ctx.Err() == nil {
			err = &bench.InfraError{
				Op: "fetch the kernel " + found.release, Err: err,
				Advice: "if the archive has removed it since its list was fetched: 'vmtb lab clean' forgets the list",
			}
		}
		return err
	}
	return s, nil
}

// sources returns the packages with the kernel's headers and its source, for "apt-get download".
func (k archiveKernel) sources() []string {
	series := strings.SplitN(k.upstream(), ".", 3)
	names := []string{
		"linux-headers-" + k.release + "-amd64", "linux-headers-" + k.release + "-common", "linux-kbuild-" + k.release,
		"linux-source-" + strings.Join(series[:min(2, len(series))], "."),
	}
	for i := range names {
		names[i] += "=" + k.version
	}
	return names
}

// archiveModulesScript builds xe and xe-vfio-pci for a kernel of Debian's archive.
const archiveModulesScript = "xe-archivemodules.sh"

// headersCompiler matches the compiler in the dependencies of a kernel's headers: gcc-14-for-host.
var headersCompiler = regexp.MustCompile(`\bgcc-\d+\b`)

// archiveModules returns the cache entry with xe and xe-vfio-pci for the DUT's kernel, built from the
// headers and the source in Debian's archive. It returns "" if they are not there, or if the user
// gives one of these modules.
func (b *builder) archiveModules(root string, s Side) string {
	if s.Kernel.version == "" || slices.ContainsFunc(s.Modules, Module.drivesGPU) {
		return ""
	}
	index, found, err := b.findKernel(s.Kernel)
	if err != nil {
		b.err = err
		return ""
	}
	tmp, remove, err := b.cache.Scratch("aptquery")
	if err != nil {
		b.err = err
		return ""
	}
	defer remove()
	a := apt{lists: index, dir: tmp.Name()}
	packages, err := a.query(b.ctx, append([]string{"show"}, found.sources()...)...)
	if err != nil {
		return "" // apt-cache fails if one of them is not there
	}
	compiler := "x86_64-linux-gnu-" + headersCompiler.FindString(packages)
	if _, err := os.Stat(filepath.Join(root, "tree/usr/bin", compiler)); err != nil {
		b.progress.Printf("xe-vfio-pci of Linux %s cannot be built: the lab has no %s", found.release, compiler)
		return ""
	}
	source := b.entry(
		"linuxsource", "source and headers of Linux "+found.release, func(dir *os.File, log io.Writer) error {
			a := apt{lists: index, dir: filepath.Join(dir.Name(), "apt")}
			err := a.run(b.ctx, dir, dir.Name(), log, append([]string{"download"}, found.sources()...)...)
			return errors.Join(err, os.RemoveAll(a.dir))
		}, strings.Join(found.sources(), " "),
	)
	title := "xe and xe-vfio-pci of Linux " + found.release + " from Debian's source (some minutes)"
	return b.stage("xemodules", root, archiveModulesScript, title, []string{source})
}

// FindKernels returns an error if one of kernels is a version that Debian's archive does not have. It
// fetches no kernel, and builds the lab's root tree if it does not exist: its kernel counts, too.
func FindKernels(
	ctx context.Context, cacheDir string, packages []string, kernels []Kernel, p *progress.Progress,
) error {
	kernels = slices.DeleteFunc(slices.Clone(kernels), func(k Kernel) bool { return k.version == "" })
	if len(kernels) == 0 {
		return nil
	}
	if err := mustBeRoot(); err != nil {
		return err
	}
	c, err := cache.Open(cacheDir, p)
	if err != nil {
		return err
	}
	defer c.Close()
	b := builder{ctx: ctx, cache: c, progress: p}
	root := b.root(packages)
	var errs []error
	for _, k := range kernels {
		if b.err == nil && !isRootKernel(root, k) {
			_, _, err := b.findKernel(k)
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, b.err)...)
}

// isRootKernel reports whether k is a version that the kernel of a root tree has.
func isRootKernel(root string, k Kernel) bool {
	own, err := rootKernel(root)
	if err != nil {
		return false
	}
	_, err = pickKernel([]archiveKernel{{release: strings.TrimSuffix(own, "-amd64")}}, k.version)
	return err == nil
}

// rootKernel returns the release of the kernel in a root tree, "7.3.4+deb13-amd64".
func rootKernel(root string) (string, error) {
	kernels, err := filepath.Glob(filepath.Join(root, "tree", "usr/lib/modules/*"))
	if err == nil && len(kernels) != 1 {
		err = fmt.Errorf("want 1 kernel in the root tree, found %q", kernels)
	}
	if err != nil {
		return "", &bench.InfraError{Op: "find the lab's kernel", Err: err}
	}
	return filepath.Base(kernels[0]), nil
}

// kernelListAge is the age from which on a list of kernels is fetched again, if it lacks a version.
const kernelListAge = 24 * time.Hour

// findKernel returns a kernel of Debian's archive, and the directory of apt's lists in which it is.
func (b *builder) findKernel(k Kernel) (lists string, found archiveKernel, err error) {
	lists, found, fetched, err := b.findKernelIn(k, "")
	if err == nil || !errors.Is(err, errUnknownKernel) || time.Since(fetched) < kernelListAge {
		return lists, found, err
	}
	lists, found, _, err = b.findKernelIn(k, time.Now().UTC().Format(time.DateOnly))
	return lists, found, err
}

// findKernelIn looks for a kernel in the list of kernels of that day, or in the one that was fetched
// first, if day is "". It also returns when the list was fetched.
func (b *builder) findKernelIn(k Kernel, day string) (lists string, found archiveKernel, fetched time.Time, err error) {
	dir := b.kernelIndex(day)
	if b.err != nil {
		return "", found, fetched, b.err
	}
	file := filepath.Join(dir, kernelsFile)
	data, err := os.ReadFile(file)
	var info os.FileInfo
	if err == nil {
		info, err = os.Stat(file)
	}
	if err != nil {
		return "", found, fetched, &bench.InfraError{Op: "read the list of kernels", Err: err, Advice: "vmtb lab clean"}
	}
	kernels := parseKernels(string(data))
	found, err = pickKernel(kernels, k.version)
	if err != nil {
		err = k.usage(err, available(kernels))
	}
	return filepath.Join(dir, "lists"), found, info.ModTime(), err
}

// kernelsFile is the file with the output of "apt-cache madison" in the entry of kernelIndex.
const kernelsFile = "kernels"

// kernelIndex returns the cache entry with apt's lists of the releases with kernels, and the
// kernels in them. day tells lists apart that were fetched on different days.
func (b *builder) kernelIndex(day string) string {
	releases := strings.Join(kernelReleases, " ")
	const title = "list of the kernels in Debian's archive"
	return b.entry("kernelindex", title, func(dir *os.File, log io.Writer) error {
		mirror, err := debianMirror(b.ctx)
		if err != nil {
			return err
		}
		a := apt{lists: filepath.Join(dir.Name(), "lists"), dir: filepath.Join(dir.Name(), "apt")}
		if err := a.sources(mirror, []string{"deb"}, kernelReleases); err != nil {
			return err
		}
		if err := a.run(b.ctx, dir, dir.Name(), log, "update"); err != nil {
			return err
		}
		names, err := a.query(b.ctx, "pkgnames", "linux-")
		if err != nil {
			return err
		}
		args := []string{"madison"}
		for _, name := range strings.Fields(names) {
			if kernelPackage.MatchString(name) {
				args = append(args, name)
			}
		}
		kernels, err := a.query(b.ctx, args...)
		if err == nil && len(parseKernels(kernels)) == 0 {
			err = errors.New("the mirror has no kernels for amd64")
		}
		if err != nil {
			return &bench.InfraError{Op: "list the kernels in Debian's archive", Err: err}
		}
		if err := os.RemoveAll(a.dir); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir.Name(), kernelsFile), []byte(kernels), 0o644)
	}, releases, day, "recipe 1")
}
