package fakehost

import (
	"fmt"
	"path"
)

// drivers adds the drivers' directories, and the files that bind functions.
func (p *pciBus) drivers(b builder) {
	b.add("/sys/bus/pci/drivers_probe", node{mode: 0o200, write: p.writeDriversProbe})
	for _, m := range p.s.Loaded {
		driver := driverName(m)
		dir := "/sys/bus/pci/drivers/" + driver
		b.add(dir+"/bind", node{mode: 0o200, write: func(text string) error { return p.writeBind(driver, text) }})
		b.add(dir+"/unbind", node{mode: 0o200, write: func(text string) error { return p.writeUnbind(driver, text) }})
		b.link(dir+"/module", "../../../../module/"+m)
		b.link("/sys/module/"+m+"/drivers/pci:"+driver, "../../../bus/pci/drivers/"+driver)
	}
}

// firstRender is the minor number of the first render node.
const firstRender = 128

// device adds the files of every PCI function.
func (p *pciBus) device(b builder, fn int) {
	f := &p.s.Functions[fn]
	bdf := p.address(fn)
	dir := "/sys/devices/pci0000:00/" + bdf
	b.link("/sys/bus/pci/devices/"+bdf, "../../../devices/pci0000:00/"+bdf)
	b.text(dir+"/vendor", "0x8086\n")
	b.text(dir+"/device", fmt.Sprintf("0x%04x\n", p.o.Device))
	b.text(dir+"/class", "0x030000\n")
	b.text(dir+"/modalias", fmt.Sprintf("pci:v00008086d%08Xsv00008086sd00000000bc03sc00i00\n", p.o.Device))
	b.add(dir+"/reset", node{mode: 0o200, write: func(text string) error { return p.writeReset(fn, text) }})
	b.add(dir+"/driver_override", node{mode: 0o644, read: func() (string, error) {
		if f.Override == "" {
			return "(null)\n", nil
		}
		return f.Override + "\n", nil
	}, write: func(text string) error { return p.writeOverride(fn, text) }})
	if !p.o.NoIOMMU {
		group := fmt.Sprintf("kernel/iommu_groups/%d", p.group(fn))
		b.link(dir+"/iommu_group", "../../../"+group)
		b.link("/sys/"+group+"/devices/"+bdf, "../../../../devices/pci0000:00/"+bdf)
	}
	if f.Driver != "" {
		b.link(dir+"/driver", "../../../bus/pci/drivers/"+f.Driver)
		b.link("/sys/bus/pci/drivers/"+f.Driver+"/"+bdf, "../../../../devices/pci0000:00/"+bdf)
	}
	if f.Driver == "xe" {
		b.dir(fmt.Sprintf("%s/drm/card%d", dir, p.o.Card+fn))
		b.dir(fmt.Sprintf("%s/drm/renderD%d", dir, p.o.Card+fn+firstRender))
		if fn > 0 {
			p.ctl.vfDriver(b, fn)
		}
	}
	if nodes := p.vfioNodes(fn); len(nodes) > 0 {
		b.dir(dir + "/vfio-dev/" + path.Base(nodes[1]))
	}
	if pf := "/sys/devices/pci0000:00/" + p.address(0); p.pfBound() && !p.o.Flat {
		b.link(fmt.Sprintf("%s/sriov_admin/%s/device", pf, functionName(fn)), "../../../"+bdf)
	}
	if fn > 0 {
		b.add(dir+"/sriov_vf_msix_count", node{mode: 0o200, write: writeMSIX})
		b.link(
			dir+"/supplier:pci:"+p.address(0), fmt.Sprintf("../../virtual/devlink/pci:%s--pci:%s", p.address(0), bdf),
		)
		b.link(
			fmt.Sprintf("/sys/devices/pci0000:00/%s/consumer:pci:%s", p.address(0), bdf),
			fmt.Sprintf("../../virtual/devlink/pci:%s--pci:%s", p.address(0), bdf),
		)
		b.link(dir+"/physfn", "../"+p.address(0))
		b.link(fmt.Sprintf("/sys/devices/pci0000:00/%s/virtfn%d", p.address(0), fn-1), "../"+bdf)
	}
}

// pf adds the files that only the PF has.
func (p *pciBus) pf(b builder) {
	dir := "/sys/devices/pci0000:00/" + p.address(0)
	b.text(dir+"/sriov_totalvfs", fmt.Sprintf("%d\n", p.o.TotalVFs))
	b.text(dir+"/sriov_offset", "1\n")
	b.text(dir+"/sriov_stride", "1\n")
	b.text(dir+"/sriov_vf_device", fmt.Sprintf("%x\n", p.o.Device))
	b.text(dir+"/sriov_vf_total_msix", "0\n")
	b.add(dir+"/sriov_numvfs", node{
		mode: 0o644, read: decimal(func() uint64 { return uint64(p.s.NumVFs) }), write: p.writeNumVFs,
	})
	b.add(dir+"/sriov_drivers_autoprobe", node{mode: 0o644, read: func() (string, error) {
		if p.s.Autoprobe {
			return "1\n", nil
		}
		return "0\n", nil
	}, write: p.writeAutoprobe})
}
