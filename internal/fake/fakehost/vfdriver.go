package fakehost

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// vfDriver places what xe shows of a VF that it runs, on the host or in a guest.
func (h *Host) vfDriver(b builder, vf int) {
	bdf := h.address(vf)
	root := "/sys/kernel/debug/dri/" + bdf
	b.link(fmt.Sprintf("/sys/kernel/debug/dri/%d", h.o.Card+vf), bdf)
	b.text(root+"/name", fmt.Sprintf("xe dev=%[1]s unique=%[1]s\n", bdf))
	b.text(root+"/sriov_info", "supported: yes\nenabled: yes\nmode: SR-IOV VF\n")
	for gt := range h.s.GTs {
		b.dir(fmt.Sprintf("/sys/devices/pci0000:00/%s/tile0/gt%d", bdf, gt))
		dir := fmt.Sprintf("%s/tile0/gt%d/vf", root, gt)
		if h.o.Flat {
			dir = fmt.Sprintf("%s/gt%d/vf", root, gt)
		} else {
			b.link(fmt.Sprintf("%s/gt%d", root, gt), fmt.Sprintf("tile0/gt%d", gt))
			b.add(dir+"/resfix_stoppers", h.stoppers(vf, gt))
		}
		b.add(dir+"/self_config", node{mode: 0o444, read: func() (string, error) { return h.selfConfig(vf, gt), nil }})
		b.text(dir+"/abi_versions", "GuC ABI:\n\tbase:\t0.1.17.*\n\twanted:\t0.1.27.*\n\thandshake:\t0.1.27.0\n"+
			"PF ABI:\n\tbase:\t1.0\n\twanted:\t1.0\n\thandshake:\t1.0\n")
	}
}

// selfConfig is what xe_gt_sriov_vf.c prints. Up to Linux 6.18 a media GT had the GGTT, too.
func (h *Host) selfConfig(vf, gt int) string {
	var b strings.Builder
	t := &h.s.Functions[vf].VF.Told
	if gt == 0 || h.o.Flat {
		fmt.Fprintf(&b, "GGTT range:\t%#x-%#x\nGGTT size:\t%d (%s)\n", t.GGTT.Start, t.GGTT.end()-1, t.GGTT.Size, size(t.GGTT.Size))
	}
	if h.o.Flat {
		b.WriteString("GGTT shift on last restore:\t0\n")
	}
	if gt == 0 && h.o.VRAM > 0 {
		fmt.Fprintf(&b, "LMEM size:\t%d (%s)\n", t.VRAM, size(t.VRAM))
	}
	fmt.Fprintf(&b, "GuC contexts:\t%d\nGuC doorbells:\t%d\n", t.Contexts[gt], t.Doorbells[gt])
	return b.String()
}

// vfState is what the driver of a VF knows, and how far it has got in recovering from a restore.
type vfState struct {
	Told     told
	Stage    uint8 // the bit of resfix_stoppers that can hold the recovery now, 0 without one
	Restored bool  // another restore that it has not taken up yet
}

// told is what a VF's driver was told that the VF has: when it was loaded, and after a reset or a restore.
type told struct {
	GGTT                span
	VRAM                uint64
	Contexts, Doorbells []uint64 // by GT
}

// connect is the driver of a VF asking what the VF has. Not all that it needs is ENODATA.
func (h *Host) connect(vf int) error {
	f := &h.s.Functions[vf]
	t := h.given(vf)
	if t.GGTT.Size == 0 || t.VRAM == 0 && h.o.VRAM > 0 || slices.Contains(t.Contexts, 0) || slices.Contains(t.Doorbells, 0) {
		return syscall.ENODATA
	}
	f.Agreed, f.VF = true, vfState{Told: t}
	return nil
}

// given is what a VF has.
func (h *Host) given(vf int) told {
	f := &h.s.Functions[vf]
	t := told{GGTT: f.GGTT, VRAM: f.VRAM}
	for _, g := range f.GTs {
		t.Contexts, t.Doorbells = append(t.Contexts, g.Contexts.Size), append(t.Doorbells, g.Doorbells.Size)
	}
	return t
}

// Stages of the recovery after a restore, by the bit of resfix_stoppers that holds it before: start, fixups, restart of
// jobs, end.
const (
	stageStart  = 1 << 0
	stageFixups = 1 << 1
	stageEnd    = 1 << 3
)

// recover takes the recovery of a VF as far as resfix_stoppers lets it.
func (h *Host) recover(vf int) {
	f := &h.s.Functions[vf]
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
			f.VF.Told = h.given(vf)
		}
		if f.VF.Stage <<= 1; f.VF.Stage > stageEnd {
			f.VF.Stage = 0
		}
	}
}

// stoppers is resfix_stoppers, a number in the format of debugfs_create_x8 (fs/debugfs/file.c).
func (h *Host) stoppers(vf, gt int) node {
	at := &h.s.Functions[vf].GTs[gt].Stoppers
	return node{mode: 0o600, read: func() (string, error) { return fmt.Sprintf("0x%02x\n", *at), nil }, write: func(text string) error {
		v, err := parseUint(text, 64)
		if err == nil {
			*at = uint8(v)
			h.recover(vf)
		}
		return err
	}}
}

// versions are the PF's, and those that it has agreed on with the drivers of VFs.
func (h *Host) versions() (string, error) {
	var b strings.Builder
	b.WriteString("base:\t1.0\nlatest:\t1.0\n")
	for vf := 1; vf <= h.s.NumVFs; vf++ {
		if h.s.Functions[vf].Agreed {
			fmt.Fprintf(&b, "VF%d:\t1.0\n", vf)
		}
	}
	return b.String(), nil
}
