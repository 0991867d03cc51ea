package initrd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A fileSystem is a type of root file systems.
type fileSystem struct {
	kind   string
	magic  string // at offset
	offset int
	// Subvolumes that may have the root, as distributions name them.
	subvolumes []string
}

var fileSystems = []fileSystem{
	{kind: "ext4", magic: "\x53\xef", offset: 1024 + 56},
	{kind: "xfs", magic: "XFSB"},
	{kind: "btrfs", magic: "_BHRfS_M", offset: 65536 + 64, subvolumes: []string{"@", "root", "@rootfs"}},
}

func rootTypes() []string {
	kinds := make([]string, len(fileSystems))
	for i, f := range fileSystems {
		kinds[i] = f.kind
	}
	return kinds
}

// typeOf returns the file system that starts with start.
func typeOf(start []byte) (fileSystem, bool) {
	for _, f := range fileSystems {
		if len(start) >= f.offset && bytes.HasPrefix(start[f.offset:], []byte(f.magic)) {
			return f, true
		}
	}
	return fileSystem{}, false
}

// startSize is the part of a device that [typeOf] looks at.
const startSize = 65536 + 512

// A rootFinder mounts the guest's root file system: that of the parameter root=, or the first one with
// an init program.
type rootFinder struct {
	modules *moduleTree
	params  map[string]string

	device, kind, init string // of the root, once it is mounted
}

// find tries until the root is mounted, again after each device that the kernel reports: drivers find
// disks in the background. If the root is not on one of vmtb's usual disks, find loads the other drivers.
func (r *rootFinder) find(limit time.Duration) error {
	if wanted := r.params["root"]; wanted != "" && !strings.HasPrefix(wanted, "/dev/") {
		return fmt.Errorf("find the guest's root: root=%s: want root=/dev/NAME, or no root=", wanted)
	}
	devices, err := watchDevices()
	if err != nil {
		return fmt.Errorf("watch for disks: %w", err)
	}
	defer devices.close()
	others := otherDrivers
	for end := time.Now().Add(limit); ; {
		seen, err := r.try()
		if r.device != "" {
			return nil
		}
		r.modules.loadAll(others)
		others = nil
		if !devices.wait(time.Until(end)) {
			err = errors.Join(errors.New("no file system with an init program"), err)
			return fmt.Errorf("find the guest's root: %w; disks and partitions: %s", err,
				cmp.Or(strings.Join(seen, ", "), "none: has the kernel drivers for virtio_pci and virtio_blk?"))
		}
	}
}

// try looks at each disk and partition once.
func (r *rootFinder) try() (seen []string, err error) {
	names, err := filepath.Glob("/sys/class/block/*")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		device := "/dev/" + filepath.Base(name)
		if slices.ContainsFunc([]string{"loop", "ram", "zram", "fd", "sr"}, func(kind string) bool {
			return strings.TrimRight(filepath.Base(name), "0123456789") == kind
		}) {
			continue
		}
		seen = append(seen, device)
		if wanted := r.params["root"]; wanted != "" && wanted != device {
			continue
		}
		start, readErr := readStart(device)
		kind, ok := typeOf(start)
		if readErr != nil || !ok {
			err = errors.Join(err, readErr)
			continue
		}
		seen[len(seen)-1] += " (" + kind.kind + ")"
		mountErr := r.mount(device, kind)
		if r.device != "" {
			return seen, nil
		}
		err = errors.Join(err, mountErr)
	}
	return seen, err
}

func readStart(device string) ([]byte, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	start := make([]byte, startSize)
	n, err := f.ReadAt(start, 0)
	if n > 0 {
		err = nil
	}
	return start[:n], err
}

// mount mounts a device, and sets r's results if an init program is on it.
func (r *rootFinder) mount(device string, kind fileSystem) error {
	if err := r.modules.load(kind.kind); err != nil {
		return err
	}
	options := []string{r.params["rootflags"]}
	if options[0] == "" {
		for _, name := range kind.subvolumes {
			options = append(options, "subvol="+name)
		}
	}
	var errs []error
	for i, o := range options {
		if err := unix.Mount(device, newRoot, kind.kind, 0, o); err != nil {
			if i == 0 {
				errs = append(errs, fmt.Errorf("mount %s (%s): %w", device, kind.kind, err))
			}
			continue
		}
		if init := findInit(newRoot, r.params["init"]); init != "" {
			r.device, r.kind, r.init = device, kind.kind, init
			return nil
		}
		errs = append(errs, unix.Unmount(newRoot, 0))
	}
	return errors.Join(errs...)
}

// findInit returns the path of the init program in a root file system, or "". wanted is that of the
// parameter init=. The program may be a symbolic link, whose target is in the guest's root.
func findInit(root, wanted string) string {
	paths := []string{"/sbin/init", "/usr/sbin/init", "/usr/lib/systemd/systemd", "/etc/init", "/bin/init"}
	if wanted != "" {
		paths = []string{wanted}
	}
	for _, path := range paths {
		if info, err := os.Lstat(filepath.Join(root, path)); err == nil && !info.IsDir() {
			return path
		}
	}
	return ""
}
