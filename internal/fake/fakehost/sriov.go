package fakehost

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// deviceFiles adds the files of the whole device, and the links from a GT's own directory into the
// sriov/ tree.
func (a *attributes) deviceFiles(b builder, root string) {
	b.text(root+"/sriov_info", "supported: yes\nenabled: yes\nmode: SR-IOV PF\n")
	info := root + "/pf"
	if !a.o.Flat {
		info = root + "/sriov/pf"
		b.add(root+"/sriov/restore_auto_provisioning", a.restoreAuto())
		b.add(root+"/sriov/"+lockdownFile, a.lockdown())
		a.gtLinks(b, root)
	}
	b.add(info+"/vfs", node{mode: 0o444, read: func() (string, error) {
		return fmt.Sprintf("total: %[1]d\nsupported: %[1]d\nenabled: %[2]d\n", a.o.TotalVFs, a.s.NumVFs), nil
	}})
	b.add(info+"/versions", node{mode: 0o444, read: a.ctl.versions})
}

func (a *attributes) gtLinks(b builder, root string) {
	for g := range a.s.GTs {
		b.link(fmt.Sprintf("%s/gt%d", root, g), fmt.Sprintf("tile0/gt%d", g))
		for fn := range a.s.Functions {
			name := functionName(fn)
			b.link(fmt.Sprintf("%s/tile0/gt%d/%s", root, g, name), fmt.Sprintf("../../sriov/%s/tile0/gt%d", name, g))
		}
	}
}

// tileLinks adds links in the directory of a main GT, for programs that expect the flat layout.
func (a *attributes) tileLinks(b builder, gtDir string, names map[string]node) {
	for name := range names {
		b.link(gtDir+"/"+strings.Replace(name, "vram_", "lmem_", 1), "../"+name)
	}
}

// lockdown returns a file without content. It only matters whether the file is open.
func (a *attributes) lockdown() node {
	return node{mode: 0o400, read: func() (string, error) {
		if a.s.NumVFs > 0 {
			return "", syscall.EBUSY
		}
		return "", syscall.EINVAL
	}}
}

// xe2Registers are the registers that VFs read from the PF. Xe3 has one more.
var xe2Registers = []uint32{
	0xd00, 0x9114, 0x9118, 0x911c, 0x9134, 0x913c, 0x9140, 0x9144, 0x9148, 0x914c, 0x9150, 0x9154, 0xc1dc,
}

func (a *attributes) runtimeRegisters(g int) node {
	list := slices.Clone(xe2Registers)
	if a.o.VRAM == 0 {
		list = slices.Insert(list, 4, 0x9130)
	}
	var text strings.Builder
	for i, register := range list {
		fmt.Fprintf(&text, "reg[%#x] = %#x\n", register+uint32(g)*0x380000, i)
	}
	return node{mode: 0o444, read: func() (string, error) { return text.String(), nil }}
}
