package xe

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/sysfs"
	"vmtb/bench/xe/vgpu"
)

// A Selector selects a PF by DRM card number or by address. The zero value selects the only PF of
// the machine.
type Selector struct {
	Card    *int
	Address pci.Address
	Driver  string // of the PF; "" is xe
}

// Card returns the selector of the PF that is /dev/dri/card<n>.
func Card(n int) Selector { return Selector{Card: &n} }

// A PF is the Physical Function of a GPU that the xe driver runs.
type PF struct {
	*pci.Device
	Card int  // its number in /dev/dri/card<n>; not stable from boot to boot
	GTs  []GT // of all tiles, by number
	VRAM bool // the GPU has its own memory (the kernel's "lmem"), and VFs need a share of it

	Quotas    *Quotas    // the resources of VFs
	Scheduler *Scheduler // how functions share GPU time

	files files
}

// A GT is a graphics unit of a tile. Contexts and doorbells are counted per GT, GGTT and VRAM per
// tile.
type GT struct {
	Tile, ID int
	Media    bool // a media GT; the main GT renders and computes
}

func (g GT) String() string {
	kind := "main"
	if g.Media {
		kind = "media"
	}
	return fmt.Sprintf("tile%d/gt%d (%s)", g.Tile, g.ID, kind)
}

// FindPF returns the PF of an xe GPU that want selects. Errors name the candidates.
func FindPF(t *sysfs.Tree, want Selector) (*PF, error) {
	driver := cmp.Or(want.Driver, "xe")
	want.Driver = ""
	all, err := functions(t, driver)
	if err != nil {
		return nil, err
	}
	var found []*PF
	for _, pf := range all {
		total, err := pf.TotalVFs()
		switch {
		case want.Card != nil && pf.Card != *want.Card, want.Address != "" && pf.Address != want.Address:
		case err == nil && total > 0:
			found = append(found, pf)
		case want != Selector{}:
			return nil, noSRIOV(pf)
		}
	}
	if len(found) != 1 {
		return nil, notOne(want, driver, found, all)
	}
	return found[0], found[0].probe()
}

// functions returns the GPUs that the driver has bound and brought up, without VFs that it bound on
// the host.
func functions(t *sysfs.Tree, driver string) ([]*PF, error) {
	dir := "/sys/bus/pci/drivers/" + driver
	entries, err := t.FS.ReadDir(dir)
	if err != nil {
		return nil, &bench.HostError{
			Op: "find a GPU in", Noun: dir, Err: err,
			Advice: fmt.Sprintf("the %[1]s driver is not loaded: modprobe %[1]s", driver),
		}
	}
	var list []*PF
	for _, e := range entries {
		a, err := pci.Parse(e.Name())
		if err != nil {
			continue // bind, unbind, new_id, module, ...
		}
		d := pci.At(t, a)
		if card, ok := cardOf(t, d); ok && !d.IsVF() {
			list = append(list, &PF{Device: d, Card: card, files: files{tree: t}})
		}
	}
	return list, nil
}

// cardOf returns the number of the device's DRM card. A GPU that failed to initialise has a driver
// but no card.
func cardOf(t *sysfs.Tree, d *pci.Device) (int, bool) {
	entries, err := t.FS.ReadDir(d.Dir() + "/drm")
	if err != nil {
		return 0, false
	}
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), "card"); ok {
			if n, err := strconv.Atoi(number); err == nil {
				return n, true
			}
		}
	}
	return 0, false
}

func noSRIOV(pf *PF) error {
	return &bench.HostError{
		Op: "use as a PF", Noun: pf.name(), Err: fmt.Errorf("the GPU offers no VFs: %w", bench.ErrNotAvailable),
		Advice: pf.whyNoVFs(),
	}
}

func notOne(want Selector, driver string, found, all []*PF) error {
	names := make([]string, len(all))
	for i, pf := range all {
		names[i] = pf.name()
	}
	there := "GPUs of the " + driver + " driver: " + cmp.Or(strings.Join(names, ", "), "none")
	switch {
	case want.Card != nil:
		return &bench.UsageError{
			Err: fmt.Errorf("card%d is not a GPU of the %s driver", *want.Card, driver), Advice: there,
		}
	case want.Address != "":
		return &bench.UsageError{
			Err: fmt.Errorf("%s is not a GPU of the %s driver", want.Address, driver), Advice: there,
		}
	case len(found) > 1:
		return &bench.UsageError{
			Err: errors.New("several GPUs can be the PF: choose one by its card number"), Advice: there,
		}
	case len(all) > 0:
		return noSRIOV(all[0])
	}
	return &bench.HostError{
		Op: "find a GPU", Err: fmt.Errorf("the %s driver is loaded but has initialised no GPU", driver),
		Advice: "see dmesg; " + driver + " must support the GPU, and no other driver may have it",
	}
}

// name returns the PF's name for messages: "card1 (0000:03:00.0)".
func (p *PF) name() string { return fmt.Sprintf("card%d (%s)", p.Card, p.Address) }

// probe finds the PF's GTs and memory by the files that exist.
func (p *PF) probe() error {
	tiles, err := numbered(p.files.tree, p.Dir(), "tile")
	if err != nil {
		return err
	}
	for _, tile := range tiles {
		gts, err := numbered(p.files.tree, fmt.Sprintf("%s/tile%d", p.Dir(), tile), "gt")
		if err != nil {
			return err
		}
		for i, gt := range gts {
			// A tile's first GT is the main one.
			p.GTs = append(p.GTs, GT{Tile: tile, ID: gt, Media: i > 0})
		}
	}
	if len(p.GTs) == 0 {
		return &bench.HostError{
			Op: "find the GTs of", Noun: p.name(), Err: fmt.Errorf("no tile<T>/gt<G> in %s", p.Dir()),
		}
	}
	p.files = probeFiles(p.files.tree, p.Device, p.GTs)
	p.VRAM = p.files.tree.Exists(p.files.tileFile(0, p.GTs[0], "vram_spare")) ||
		p.files.tree.Exists(p.files.adminFile(1, "vram_quota"))
	p.Quotas = &Quotas{files: p.files, device: p.Device, name: p.name(), vram: p.VRAM}
	p.Scheduler = &Scheduler{files: p.files, device: p.Device}
	return nil
}

// Model reads the vGPU profile file of the PF's GPU. It prefers the file in the directory own, if
// that exists, over the one built into vmtb. mapping is as in [vgpu.LoadModel].
func (p *PF) Model(mapping map[string]string, own string) (*vgpu.Model, error) {
	ids, err := p.IDs()
	if err != nil {
		return nil, err
	}
	dirs := []fs.FS{vgpu.Files()}
	if _, err := os.Stat(own); own != "" && err == nil {
		dirs = append(dirs, os.DirFS(own))
	}
	return vgpu.LoadModel(ids.Device, mapping, dirs...)
}

// numbered returns the numbers n of the entries <prefix><n> of a directory, in order.
func numbered(t *sysfs.Tree, dir, prefix string) ([]int, error) {
	entries, err := t.FS.ReadDir(dir)
	if err != nil {
		return nil, sysfs.HostError("list", dir, "", err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return numbersOf(names, prefix), nil
}
