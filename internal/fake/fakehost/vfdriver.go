package fakehost

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// vfDriver adds the files of xe as the VF's own driver, on the host or in a guest.
func (ctl *controller) vfDriver(b builder, vf int) {
	bdf := ctl.address(vf)
	root := "/sys/kernel/debug/dri/" + bdf
	b.link(fmt.Sprintf("/sys/kernel/debug/dri/%d", ctl.o.Card+vf), bdf)
	b.text(root+"/name", fmt.Sprintf("xe dev=%[1]s unique=%[1]s\n", bdf))
	b.text(root+"/sriov_info", "supported: yes\nenabled: yes\nmode: SR-IOV VF\n")
	for gt := range ctl.s.GTs {
		b.dir(fmt.Sprintf("/sys/devices/pci0000:00/%s/tile0/gt%d", bdf, gt))
		dir := fmt.Sprintf("%s/tile0/gt%d/vf", root, gt)
		if ctl.o.Flat {
			dir = fmt.Sprintf("%s/gt%d/vf", root, gt)
		} else {
			b.link(fmt.Sprintf("%s/gt%d", root, gt), fmt.Sprintf("tile0/gt%d", gt))
			b.add(dir+"/resfix_stoppers", ctl.stoppers(vf, gt))
		}
		b.add(dir+"/self_config", node{
			mode: 0o444, read: func() (string, error) { return ctl.selfConfig(vf, gt), nil },
		})
		b.text(dir+"/abi_versions", "GuC ABI:\n\tbase:\t0.1.17.*\n\twanted:\t0.1.27.*\n\thandshake:\t0.1.27.0\n"+
			"PF ABI:\n\tbase:\t1.0\n\twanted:\t1.0\n\thandshake:\t1.0\n")
	}
}

// selfConfig returns the text that xe_gt_sriov_vf.c prints. Up to Linux 6.18 a media GT also had
// the GGTT.
func (ctl *controller) selfConfig(vf, gt int) string {
	var b strings.Builder
	t := &ctl.s.Functions[vf].VF.Told
	if gt == 0 || ctl.o.Flat {
		fmt.Fprintf(
			&b, "GGTT range:\t%#x-%#x\nGGTT size:\t%d (%s)\n", t.GGTT.Start, t.GGTT.end()-1, t.GGTT.Size,
			size(t.GGTT.Size),
		)
		if ctl.o.Flat { // the first range counts as a shift from 0
			fmt.Fprintf(&b, "GGTT shift on last restore:\t%d\n", t.GGTT.Start)
		}
	}
	if gt == 0 && ctl.o.VRAM > 0 {
		fmt.Fprintf(&b, "LMEM size:\t%d (%s)\n", t.VRAM, size(t.VRAM))
	}
	fmt.Fprintf(&b, "GuC contexts:\t%d\nGuC doorbells:\t%d\n", t.Contexts[gt], t.Doorbells[gt])
	return b.String()
}

// vfState is the state of a VF's driver, including its recovery from a restore.
type vfState struct {
	Told told
	// The bit of resfix_stoppers that can stop the recovery now; 0 without a recovery.
	Stage    uint8
	Restored bool // there was another restore, whose recovery has not begun
}

// told has the VF's resources as the PF reported them to the VF's driver: when it was loaded, and
// after a reset or a restore.
type told struct {
	GGTT                span
	VRAM                uint64
	Contexts, Doorbells []uint64 // by GT
}

// connect makes the driver of a VF ask the PF for the VF's resources. If one is missing, the error
// is ENODATA.
func (ctl *controller) connect(vf int) error {
	f := &ctl.s.Functions[vf]
	t := ctl.given(vf)
	if t.GGTT.Size == 0 || t.VRAM == 0 && ctl.o.VRAM > 0 || slices.Contains(t.Contexts, 0) ||
		slices.Contains(t.Doorbells, 0) {
		return syscall.ENODATA
	}
	f.Agreed, f.VF = true, vfState{Told: t}
	return nil
}

// given returns the resources of a VF.
func (ctl *controller) given(vf int) told {
	f := &ctl.s.Functions[vf]
	t := told{GGTT: f.GGTT, VRAM: f.VRAM}
	for _, g := range f.GTs {
		t.Contexts, t.Doorbells = append(t.Contexts, g.Contexts.Size), append(t.Doorbells, g.Doorbells.Size)
	}
	return t
}

// These are the stages of the recovery after a restore. Each is the bit of resfix_stoppers that
// stops the recovery before it: start, fixups, restart of jobs, end.
const (
	stageStart  = 1 << 0
	stageFixups = 1 << 1
	stageEnd    = 1 << 3
)

// recover continues the recovery of a VF as far as resfix_stoppers allows.
func (ctl *controller) recover(vf int) {
	f := &ctl.s.Functions[vf]
	for {
		if f.VF.Stage == 0 {
			if !f.VF.Restored {
				return
			}
			f.VF.Stage, f.VF.Restored = stageStart, false
		}
		for _, g := range f.GTs {
			if g.Stoppers&f.VF.Stage != 0 {
				return
			}
		}
		if f.VF.Stage == stageFixups {
			f.VF.Told = ctl.given(vf)
		}
		if f.VF.Stage <<= 1; f.VF.Stage > stageEnd {
			f.VF.Stage = 0
		}
	}
}

// stoppers returns resfix_stoppers, a number in the format of debugfs_create_x8
// (fs/debugfs/file.c).
func (ctl *controller) stoppers(vf, gt int) node {
	at := &ctl.s.Functions[vf].GTs[gt].Stoppers
	read := func() (string, error) { return fmt.Sprintf("0x%02x\n", *at), nil }
	return node{mode: 0o600, read: read, write: func(text string) error {
		v, err := parseUint(text, 64)
		if err == nil {
			*at = uint8(v)
			ctl.recover(vf)
		}
		return err
	}}
}

// versions returns the PF's versions, and the versions agreed on with the drivers of VFs.
func (ctl *controller) versions() (string, error) {
	var b strings.Builder
	b.WriteString("base:\t1.0\nlatest:\t1.0\n")
	for vf := 1; vf <= ctl.s.NumVFs; vf++ {
		if ctl.s.Functions[vf].Agreed {
			fmt.Fprintf(&b, "VF%d:\t1.0\n", vf)
		}
	}
	return b.String(), nil
}
