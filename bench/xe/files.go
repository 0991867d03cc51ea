package xe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/sysfs"
	"vmtb/bench/undo"
)

// debugfs knows where the kernel keeps the provisioning of a PF. Function numbers: 0 is the PF, M is VF M.
type debugfs struct {
	root string // /sys/kernel/debug/dri/<BDF>
	flat bool   // gtG/{pf,vfM}/…, as up to Linux 6.18; since then sriov/{pf,vfM}/tileT/[gtG/]…
}

func probeDebugfs(t *sysfs.Tree, a pci.Address) debugfs {
	d := debugfs{root: "/sys/kernel/debug/dri/" + string(a)}
	d.flat = !t.Exists(d.root + "/sriov/pf")
	return d
}

func function(fn int) string {
	if fn == 0 {
		return "pf"
	}
	return "vf" + strconv.Itoa(fn)
}

// tileFile is a file of a tile's resources, ggtt_* or vram_*; main is the tile's main GT.
func (d debugfs) tileFile(fn int, main GT, name string) string {
	if d.flat {
		return d.gtFile(fn, main, strings.Replace(name, "vram_", "lmem_", 1))
	}
	return fmt.Sprintf("%s/sriov/%s/tile%d/%s", d.root, function(fn), main.Tile, name)
}

// gtFile is a file of a GT's resources and policies.
func (d debugfs) gtFile(fn int, gt GT, name string) string {
	if d.flat {
		return fmt.Sprintf("%s/gt%d/%s/%s", d.root, gt.ID, function(fn), name)
	}
	return fmt.Sprintf("%s/sriov/%s/tile%d/gt%d/%s", d.root, function(fn), gt.Tile, gt.ID, name)
}

func (d debugfs) restoreFile() string { return d.root + "/sriov/restore_auto_provisioning" }

// adminFile is a file of sysfs' sriov_admin (Linux 6.19 and later), which never changes the provisioning mode.
func (p *PF) adminFile(fn int, name string) string {
	return fmt.Sprintf("%s/sriov_admin/%s/profile/%s", p.Dir(), function(fn), name)
}

func (p *PF) bulkFile(name string) string { return p.Dir() + "/sriov_admin/.bulk_profile/" + name }

func (p *PF) hasAdmin() bool { return p.tree.Exists(p.Dir() + "/sriov_admin") }

// read is the number in a file. A file that this kernel does not have is [bench.ErrNotAvailable].
func (p *PF) read(file string) (uint64, error) {
	n, err := p.tree.Uint(file)
	return n, available(file, err)
}

func available(file string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	advice := "this kernel's xe driver does not have it"
	if strings.HasPrefix(file, "/sys/kernel/debug/") {
		advice += ", or debugfs is not mounted on /sys/kernel/debug"
	}
	return &bench.HostError{Op: "use", Noun: file, Err: bench.ErrNotAvailable, Advice: advice}
}

// A setting is a number to be written to a file, and what reads back if the kernel took it.
type setting struct {
	file      string
	value     uint64
	readsBack uint64
}

// apply makes a setting unless it is made already. If recorded, undoing it puts the old value back. What this kernel
// does not have need not be switched off.
func (p *PF) apply(ctx context.Context, s setting, recorded bool) error {
	now, err := p.read(s.file)
	switch {
	case errors.Is(err, errUnclean): // the GTs differ, so there is no one value to go back to: 0 is the default
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
		err = p.tree.Change(ctx, undo.Write{Path: s.file, Old: strconv.FormatUint(now, 10)}, value)
	} else {
		err = p.tree.Write(ctx, s.file, value)
	}
	if err != nil {
		return err
	}
	switch now, err = p.read(s.file); {
	case err != nil:
		return err
	case now != s.readsBack:
		return &bench.HostError{
			Op: "write", Noun: s.file, Value: value, Err: fmt.Errorf("it reads %d afterwards, not %d", now, s.readsBack),
			Advice: "the driver took the write and not the value: see dmesg",
		}
	}
	return nil
}
