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
	"vmtb/bench/xe/vgpu"
)

// A VF is a Virtual Function on the machine whose xe driver has bound it: a guest, or the host.
// Errors are [bench.GuestError]. If the driver lacks a feature, they match [bench.ErrNotAvailable].
type VF struct {
	Address pci.Address // on that machine
	GTs     []GT
	machine bench.Machine
}

// FindVF returns the VF at address a of a machine. It returns an error unless an xe driver has
// bound the device.
func FindVF(ctx context.Context, m bench.Machine, a pci.Address) (*VF, error) {
	v := &VF{Address: a, machine: m}
	tiles, err := v.numbered(ctx, a.Dir(), "tile")
	if err != nil {
		return nil, err
	}
	for _, tile := range tiles {
		gts, err := v.numbered(ctx, fmt.Sprintf("%s/tile%d", a.Dir(), tile), "gt")
		if err != nil {
			return nil, err
		}
		for i, gt := range gts {
			v.GTs = append(v.GTs, GT{Tile: tile, ID: gt, Media: i > 0})
		}
	}
	if len(v.GTs) == 0 {
		return nil, v.failed("find the GTs of "+string(a), errors.New("none found: is the xe driver bound to the VF?"))
	}
	return v, nil
}

func (v *VF) failed(op string, err error) error {
	return &bench.GuestError{Machine: v.machine.String(), Op: op, Err: err}
}

func (v *VF) numbered(ctx context.Context, dir, prefix string) ([]int, error) {
	entries, err := v.machine.ReadDir(ctx, dir)
	if err != nil {
		return nil, v.failed("list "+dir, err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name
	}
	return numbersOf(names, prefix), nil
}

// numbersOf returns the numbers n of the names <prefix><n>, in order.
func numbersOf(names []string, prefix string) []int {
	var list []int
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if n, err := strconv.Atoi(rest); err == nil {
				list = append(list, n)
			}
		}
	}
	slices.Sort(list)
	return list
}

// files returns the possible paths of a file of the VF on a GT. Since Linux 6.18 it is in the
// tile's directory.
func (v *VF) files(gt GT, name string) []string {
	root := "/sys/kernel/debug/dri/" + string(v.Address)
	return []string{
		fmt.Sprintf("%s/tile%d/gt%d/vf/%s", root, gt.Tile, gt.ID, name),
		fmt.Sprintf("%s/gt%d/vf/%s", root, gt.ID, name),
	}
}

// readFirst parses the first of files that exists, and returns its name, too.
func readFirst[T any](ctx context.Context, v *VF, parse func(string) (T, error), files ...string) (T, string, error) {
	for _, file := range files {
		b, err := v.machine.ReadFile(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var value T
		if err == nil {
			value, err = parse(strings.TrimSpace(string(b)))
		}
		if err != nil {
			err = v.failed("read "+file, err)
		}
		return value, file, err
	}
	var none T
	return none, "", v.failed(
		"read "+files[len(files)-1],
		fmt.Errorf("%w (the machine's kernel does not have it, or debugfs is not mounted)", bench.ErrNotAvailable),
	)
}

// A SelfConfig has the VF's resources, as the firmware of a GT reported them to the VF's driver. A
// media GT has only contexts and doorbells; up to Linux 6.18 it repeats the GGTT.
type SelfConfig struct {
	vgpu.Resources
	GGTTRange Range // zero where there is none
	Shift     int64 // by how many bytes the GGTT moved in the VF's last restore; up to Linux 6.18
}

// SelfConfig reads the self-configuration of a GT.
func (v *VF) SelfConfig(ctx context.Context, gt GT) (SelfConfig, error) {
	c, _, err := readFirst(ctx, v, parseSelfConfig, v.files(gt, "self_config")...)
	return c, err
}

// ByGT returns the VF's resources on each GT, to compare with [Quotas.ByGT]: only main GTs have GGTT
// and local memory.
func (v *VF) ByGT(ctx context.Context) ([]vgpu.Resources, error) {
	all := make([]vgpu.Resources, len(v.GTs))
	for i, gt := range v.GTs {
		c, err := v.SelfConfig(ctx, gt)
		if err != nil {
			return nil, err
		}
		if gt.Media {
			c.GGTT, c.VRAM = 0, 0
		}
		all[i] = c.Resources
	}
	return all, nil
}

// parseSelfConfig reads self_config.
func parseSelfConfig(text string) (c SelfConfig, err error) {
	err = fields(text, map[string]func(string) error{
		"GGTT range": func(value string) (err error) { c.GGTTRange, err = parseRange(value); return err },
		"GGTT size":  toUint(&c.GGTT),
		"GGTT shift on last restore": func(value string) (err error) {
			c.Shift, err = strconv.ParseInt(value, 10, 64)
			return err
		},
		"LMEM size":     toUint(&c.VRAM),
		"GuC contexts":  toUint(&c.Contexts),
		"GuC doorbells": toUint(&c.Doorbells),
	}, "GGTT range", "GGTT size", "GGTT shift on last restore", "LMEM size")
	if err == nil && c.GGTTRange != (Range{}) && c.GGTTRange.Size() != c.GGTT {
		err = fmt.Errorf(
			"the GGTT range %#x-%#x has %d bytes, not %d", c.GGTTRange.First, c.GGTTRange.Last, c.GGTTRange.Size(),
			c.GGTT,
		)
	}
	return c, err
}

// Stoppers halt the recovery of a VF's driver on a GT after a restore, each at one stage. The
// driver checks once a second whether its stopper is still set. It never clears one.
type Stoppers uint8

// These are the stages of recovery. Kernel source: drivers/gpu/drm/xe/xe_gt_sriov_vf.c.
const (
	StopBeforeResfix Stoppers = 1 << iota // before the recovery begins
	StopBeforeFixups                      // before addresses are fixed, if the GGTT has moved
	StopBeforeJobs                        // before jobs are started again
	StopBeforeDone                        // before the firmware is notified
)

// ResfixStoppers reads the stoppers of a GT. Only debug kernels from Linux 7.0 on have them.
func (v *VF) ResfixStoppers(ctx context.Context, gt GT) (Stoppers, error) {
	s, _, err := readFirst(ctx, v, parseStoppers, v.files(gt, "resfix_stoppers")...)
	return s, err
}

// SetResfixStoppers changes the stoppers of a GT.
func (v *VF) SetResfixStoppers(ctx context.Context, gt GT, s Stoppers) error {
	_, file, err := readFirst(ctx, v, parseStoppers, v.files(gt, "resfix_stoppers")...)
	if err != nil {
		return err
	}
	op := fmt.Sprintf("write %#x to %s", uint8(s), file)
	if err := v.machine.WriteFile(ctx, file, []byte(strconv.Itoa(int(s)))); err != nil {
		return v.failed(op, err)
	}
	now, err := v.ResfixStoppers(ctx, gt)
	if err == nil && now != s {
		err = v.failed(op, fmt.Errorf("the file then reads %#x, not %#x", uint8(now), uint8(s)))
	}
	return err
}

func parseStoppers(text string) (Stoppers, error) {
	n, err := strconv.ParseUint(text, 0, 8)
	if err != nil {
		return 0, fmt.Errorf("%q is not an eight-bit number", text)
	}
	return Stoppers(n), nil
}

// Reset does a Function Level Reset of the VF, from its own machine.
func (v *VF) Reset(ctx context.Context) error {
	file := v.Address.Dir() + "/reset"
	if err := v.machine.WriteFile(ctx, file, []byte("1")); err != nil {
		return v.failed("write 1 to "+file, err)
	}
	return nil
}
