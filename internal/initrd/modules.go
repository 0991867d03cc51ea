package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// firstDrivers are the drivers of vmtb's usual disks, of the device that reports a panic, and of the
// agent's port. The last one is for guests without udev, which would load it.
var firstDrivers = []string{"pvpanic-pci", "virtio_pci", "virtio_blk", "virtio_console"}

// otherDrivers are the drivers of QEMU's other disks. Some take seconds to look for disks.
var otherDrivers = []string{"virtio_scsi", "ahci", "ata_piix", "sd_mod", "nvme"}

// helpers are modules that file systems ask for by the name of an algorithm, not as dependencies.
var helpers = []string{"crc32c_generic", "libcrc32c", "xxhash_generic", "blake2b_generic", "sha256_generic"}

// A moduleTree has the modules of a kernel.
type moduleTree struct {
	dir     string
	release string
	needs   map[string][]string // by a module's path, the paths of the modules that it needs
	paths   map[string]string   // by a module's name, with "_"
}

// openModules reads the dependencies of the modules in dir/RELEASE.
func openModules(dir string) (*moduleTree, error) {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) != 1 {
		err = fmt.Errorf("%s has %d directories, want 1", dir, len(entries))
	}
	if err != nil {
		return nil, err
	}
	release := entries[0].Name()
	t := &moduleTree{
		dir: filepath.Join(dir, release), release: release, needs: map[string][]string{}, paths: map[string]string{},
	}
	data, err := os.ReadFile(filepath.Join(t.dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		file, needs, ok := strings.Cut(line, ":")
		if ok {
			t.needs[file] = strings.Fields(needs)
			t.paths[moduleName(file)] = file
		}
	}
	return t, nil
}

// moduleName returns the name of the module in a file, as the kernel has it.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// order returns the files of a module and of those that it needs, in the order in which they load. It
// returns none if the kernel has no such module: it may be built in.
func (t *moduleTree) order(name string) []string {
	file, ok := t.paths[moduleName(name)]
	if !ok {
		return nil
	}
	files := append([]string{file}, t.needs[file]...)
	slices.Reverse(files) // in modules.dep, the last one needs none of the others
	return files
}

// loadAll loads modules. It prints errors: another module may be the one that the guest needs.
func (t *moduleTree) loadAll(names []string) {
	for _, name := range names {
		if err := t.load(name); err != nil {
			fmt.Fprintf(os.Stderr, "vmtb: %v\n", err)
		}
	}
}

// load loads a module and those that it needs.
func (t *moduleTree) load(name string) error {
	for _, file := range t.order(name) {
		if err := t.insert(file); err != nil {
			return err
		}
	}
	return nil
}

func (t *moduleTree) insert(file string) error {
	f, err := os.Open(filepath.Join(t.dir, file))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", file, err)
	}
	return nil
}

// givenFile is in the directory of the modules that give has copied.
const givenFile = ".vmtb"

// give copies the modules into /lib/modules of a root file system. They replace others of the same
// release. It does nothing if they are there already: the guest boots again. If the file system is
// full, the modules are in a file system in memory, mounted at that place.
func (t *moduleTree) give(root string) error {
	id, err := os.ReadFile("/" + idFile)
	if err != nil {
		return err
	}
	to := t.place(root)
	err = t.copyTo(to, string(id))
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	fmt.Fprintln(os.Stderr, "vmtb: the guest's root is full: the kernel's modules are in its memory")
	err = errors.Join(os.RemoveAll(to), os.MkdirAll(to, 0o755))
	if err == nil {
		err = unix.Mount("tmpfs", to, "tmpfs", 0, "mode=755,size=90%")
	}
	if err == nil {
		err = os.CopyFS(to, os.DirFS(t.dir))
	}
	return err
}

// place returns the directory of the modules in a root file system.
func (t *moduleTree) place(root string) string {
	lib := "lib"
	if info, err := os.Lstat(filepath.Join(root, lib)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		lib = "usr/lib" // the link may be absolute
	}
	return filepath.Join(root, lib, "modules", t.release)
}

func (t *moduleTree) copyTo(to, id string) error {
	if known, err := os.ReadFile(filepath.Join(to, givenFile)); err == nil && string(known) == id {
		return nil
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(t.dir)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, givenFile), []byte(id), 0o444)
}
