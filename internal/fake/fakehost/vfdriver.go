package fakehost

import (
	"fmt"
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
	f := &h.s.Functions[vf]
	if gt == 0 || h.o.Flat {
		fmt.Fprintf(&b, "GGTT range:\t%#x-%#x\nGGTT size:\t%d (%s)\n", f.GGTT.Start, f.GGTT.end()-1, f.GGTT.Size, size(f.GGTT.Size))
	}
	if h.o.Flat {
		b.WriteString("GGTT shift on last restore:\t0\n")
	}
	if gt == 0 && h.o.VRAM > 0 {
		fmt.Fprintf(&b, "LMEM size:\t%d (%s)\n", f.VRAM, size(f.VRAM))
	}
	fmt.Fprintf(&b, "GuC contexts:\t%d\nGuC doorbells:\t%d\n", f.GTs[gt].Contexts.Size, f.GTs[gt].Doorbells.Size)
	return b.String()
}

// stoppers is resfix_stoppers, an eight-bit number in debugfs' own format.
func (h *Host) stoppers(vf, gt int) node {
	at := &h.s.Functions[vf].GTs[gt].Stoppers
	return node{mode: 0o600, read: func() (string, error) { return fmt.Sprintf("0x%02x\n", *at), nil }, write: func(text string) error {
		v, err := parseUint(text, 64)
		if err == nil && v > 0xff {
			err = syscall.EINVAL
		}
		if err == nil {
			*at = uint8(v)
		}
		return err
	}}
}
