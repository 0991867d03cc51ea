package xe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/sysfs"
	"vmtb/bench/undo"
)

// files finds, reads and writes the kernel's files for the provisioning of a PF. Function number 0
// is the PF, and M is VF M.
type files struct {
	tree *sysfs.Tree
	dir  string // /sys/bus/pci/devices/<BDF>
	root string // /sys/kernel/debug/dri/<BDF>
	flat bool   // gtG/{pf,vfM}/…, as up to Linux 6.18; since then sriov/{pf,vfM}/tileT/[gtG/]…
	gts  []GT
}

func probeFiles(t *sysfs.Tree, d *pci.Device, gts []GT) files {
	f := files{tree: t, dir: d.Dir(), root: "/sys/kernel/debug/dri/" + string(d.Address), gts: gts}
	f.flat = !t.Exists(f.root + "/sriov/pf")
	return f
}

func function(fn int) string {
	if fn == 0 {
		return "pf"
	}
	return "vf" + strconv.Itoa(fn)
}

// mainGTs returns one GT for each tile, whose files have the tile's GGTT and VRAM.
func (f files) mainGTs() []GT {
	return slices.DeleteFunc(slices.Clone(f.gts), func(g GT) bool { return g.Media })
}

// tileFile returns a file of a tile's resources, ggtt_* or vram_*; main is the tile's main GT.
func (f files) tileFile(fn int, main GT, name string) string {
	if f.flat {
		return f.gtFile(fn, main, strings.Replace(name, "vram_", "lmem_", 1))
	}
	return fmt.Sprintf("%s/sriov/%s/tile%d/%s", f.root, function(fn), main.Tile, name)
}

// gtFile returns a file of a GT's resources and policies.
func (f files) gtFile(fn int, gt GT, name string) string {
	if f.flat {
		return fmt.Sprintf("%s/gt%d/%s/%s", f.root, gt.ID, function(fn), name)
	}
	return fmt.Sprintf("%s/sriov/%s/tile%d/gt%d/%s", f.root, function(fn), gt.Tile, gt.ID, name)
}

// vfFile returns a file for a VF as a whole (Linux 6.19 and later).
func (f files) vfFile(vf int, name string) string {
	return f.root + "/sriov/" + function(vf) + "/" + name
}

// restoreFile returns the file that brings back automatic provisioning (Linux 6.19 and later).
func (f files) restoreFile() string { return f.root + "/sriov/restore_auto_provisioning" }

// adminFile returns a file of sysfs' sriov_admin (Linux 6.19 and later). Writing it never changes
// the provisioning mode.
func (f files) adminFile(fn int, name string) string {
	return fmt.Sprintf("%s/sriov_admin/%s/profile/%s", f.dir, function(fn), name)
}

// bulkFile returns a file of sriov_admin for all functions at once.
func (f files) bulkFile(name string) string { return f.dir + "/sriov_admin/.bulk_profile/" + name }

func (f files) hasAdmin() bool { return f.tree.Exists(f.dir + "/sriov_admin") }

// read returns the number in a file. The error for a file that this kernel does not have matches
// [bench.ErrNotAvailable].
func (f files) read(file string) (uint64, error) {
	n, err := f.tree.Uint(file)
	return n, available(file, err)
}

// parsed parses the text of the first of names that exists.
func parsed[T any](f files, parse func(string) (T, error), names ...string) (T, error) {
	var v T
	for i, file := range names {
		text, err := f.tree.Text(file)
		if errors.Is(err, fs.ErrNotExist) && i < len(names)-1 {
			continue
		}
		if err != nil {
			return v, available(file, err)
		}
		if v, err = parse(text); err != nil {
			return v, &bench.HostError{Op: "read", Noun: file, Err: err}
		}
		return v, nil
	}
	return v, nil
}

// available explains an error of reading file. A file that does not exist matches
// [bench.ErrNotAvailable].
func available(file string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	advice := "this kernel's xe driver does not have the file"
	if strings.HasPrefix(file, "/sys/kernel/debug/") {
		advice += ", or debugfs is not mounted on /sys/kernel/debug"
	}
	return &bench.HostError{Op: "use", Noun: file, Err: bench.ErrNotAvailable, Advice: advice}
}

// A setting is a number for a file, and the number that reads back if the kernel accepted it.
type setting struct {
	file      string
	value     uint64
	readsBack uint64
}

func onOff(file string, on bool) setting {
	if on {
		return setting{file, 1, 1}
	}
	return setting{file, 0, 0}
}

// apply writes a setting unless the file has that value already, and reads it back. If recorded is
// true, undo writes the old value. A setting of 0 needs no file: a feature that the kernel lacks is
// off.
func (f files) apply(ctx context.Context, s setting, recorded bool) error {
	now, err := f.read(s.file)
	switch {
	// The GTs differ, so there is no single old value: 0 is the default.
	case errors.Is(err, errUnclean):
		now = 0
	case s.value == 0 && errors.Is(err, bench.ErrNotAvailable):
		return nil
	case err != nil:
		return err
	case now == s.readsBack:
		return nil
	}
	value := strconv.FormatUint(s.value, 10)
	if recorded {
		err = f.tree.Change(ctx, undo.Write{Path: s.file, Old: strconv.FormatUint(now, 10)}, value)
	} else {
		err = f.tree.Write(ctx, s.file, value)
	}
	if err != nil {
		return err
	}
	switch now, err = f.read(s.file); {
	case err != nil:
		return err
	case now != s.readsBack:
		return &bench.HostError{
			Op: "write", Noun: s.file, Value: value,
			Err:    fmt.Errorf("the file then reads %d, not %d", now, s.readsBack),
			Advice: "the driver accepted the write but not the value: see dmesg",
		}
	}
	return nil
}

// record journals the value of a file that a later write to another file will change.
func (f files) record(ctx context.Context, w undo.Write) error {
	return f.tree.Log.Do(ctx, w, func() error { return nil })
}
