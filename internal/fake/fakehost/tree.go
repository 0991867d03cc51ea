package fakehost

import (
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
)

// builder makes the tree from the state.
type builder map[string]node

func (b builder) add(p string, n node) {
	b[p] = n
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		if _, ok := b[dir]; ok {
			return
		}
		b[dir] = node{mode: fs.ModeDir | 0o755}
	}
}

func (b builder) dir(p string)          { b.add(p, node{mode: fs.ModeDir | 0o755}) }
func (b builder) link(p, target string) { b.add(p, node{mode: fs.ModeSymlink | 0o777, link: target}) }

func (b builder) text(p, text string) {
	b.add(p, node{mode: 0o444, read: func() (string, error) { return text, nil }})
}

// tree is the present tree. h.mu is held.
func (h *Host) tree() map[string]node {
	if h.nodes == nil {
		if h.fixed == nil {
			h.fixed = h.provisioning()
		}
		b := builder{"/": {mode: fs.ModeDir | 0o755}}
		if h.pfBound() {
			maps.Copy(b, h.fixed)
		}
		for _, d := range []string{"/tmp", "/run", "/proc", "/sys/kernel/iommu_groups", "/sys/kernel/debug/dri"} {
			b.dir(d)
		}
		h.system(b)
		h.drivers(b)
		for fn := 0; fn <= h.s.NumVFs; fn++ {
			h.device(b, fn)
		}
		h.pf(b)
		h.nodes = b
	}
	return h.nodes
}

func (h *Host) system(b builder) {
	b.text("/proc/cmdline", h.o.Cmdline+"\n")
	h.power(b)
	for _, d := range h.s.Dirs {
		b.dir(d)
	}
	for p, text := range h.s.Files {
		b.add(p, node{mode: 0o644, read: func() (string, error) { return text, nil }, write: func(v string) error {
			h.s.Files[p] = v
			h.nodes = nil
			return nil
		}})
	}
	for pid, p := range h.s.Processes {
		dir := fmt.Sprintf("/proc/%d", pid)
		b.text(dir+"/comm", p.Comm+"\n")
		for i, file := range p.Open {
			b.link(fmt.Sprintf("%s/fd/%d", dir, i+3), file)
		}
	}
	for _, m := range h.s.Loaded {
		b.text("/sys/module/"+m+"/refcnt", "0\n")
	}
	if h.o.StandIn && h.loaded("xe") {
		b.add("/sys/module/xe/parameters/wedged", h.wedged())
	}
}

func (h *Host) drivers(b builder) {
	b.add("/sys/bus/pci/drivers_probe", node{mode: 0o200, write: h.writeDriversProbe})
	for _, m := range h.s.Loaded {
		driver := driverName(m)
		dir := "/sys/bus/pci/drivers/" + driver
		b.add(dir+"/bind", node{mode: 0o200, write: func(text string) error { return h.writeBind(driver, text) }})
		b.add(dir+"/unbind", node{mode: 0o200, write: func(text string) error { return h.writeUnbind(driver, text) }})
		b.link(dir+"/module", "../../../../module/"+m)
		b.link("/sys/module/"+m+"/drivers/pci:"+driver, "../../../bus/pci/drivers/"+driver)
	}
}

// firstRender is the minor number of the first render node.
const firstRender = 128

// device is what every PCI function has.
func (h *Host) device(b builder, fn int) {
	f := &h.s.Functions[fn]
	bdf := h.address(fn)
	dir := "/sys/devices/pci0000:00/" + bdf
	b.link("/sys/bus/pci/devices/"+bdf, "../../../devices/pci0000:00/"+bdf)
	b.text(dir+"/vendor", "0x8086\n")
	b.text(dir+"/device", fmt.Sprintf("0x%04x\n", h.o.Device))
	b.text(dir+"/class", "0x030000\n")
	b.text(dir+"/modalias", fmt.Sprintf("pci:v00008086d%08Xsv00008086sd00000000bc03sc00i00\n", h.o.Device))
	b.add(dir+"/reset", node{mode: 0o200, write: func(text string) error { return h.writeReset(fn, text) }})
	b.add(dir+"/driver_override", node{mode: 0o644, read: func() (string, error) {
		if f.Override == "" {
			return "(null)\n", nil
		}
		return f.Override + "\n", nil
	}, write: func(text string) error { return h.writeOverride(fn, text) }})
	if !h.o.NoIOMMU {
		group := fmt.Sprintf("kernel/iommu_groups/%d", h.group(fn))
		b.link(dir+"/iommu_group", "../../../"+group)
		b.link("/sys/"+group+"/devices/"+bdf, "../../../../devices/pci0000:00/"+bdf)
	}
	if f.Driver != "" {
		b.link(dir+"/driver", "../../../bus/pci/drivers/"+f.Driver)
		b.link("/sys/bus/pci/drivers/"+f.Driver+"/"+bdf, "../../../../devices/pci0000:00/"+bdf)
	}
	if f.Driver == "xe" {
		b.dir(fmt.Sprintf("%s/drm/card%d", dir, h.o.Card+fn))
		b.dir(fmt.Sprintf("%s/drm/renderD%d", dir, h.o.Card+fn+firstRender))
		if fn > 0 {
			h.vfDriver(b, fn)
		}
	}
	if nodes := h.vfioNodes(fn); len(nodes) > 0 {
		b.dir(dir + "/vfio-dev/" + path.Base(nodes[1]))
	}
	if pf := "/sys/devices/pci0000:00/" + h.address(0); h.pfBound() && !h.o.Flat {
		b.link(fmt.Sprintf("%s/sriov_admin/%s/device", pf, functionName(fn)), "../../../"+bdf)
	}
	if fn > 0 {
		b.add(dir+"/sriov_vf_msix_count", node{mode: 0o200, write: writeMSIX})
		b.link(dir+"/supplier:pci:"+h.address(0), fmt.Sprintf("../../virtual/devlink/pci:%s--pci:%s", h.address(0), bdf))
		b.link(fmt.Sprintf("/sys/devices/pci0000:00/%s/consumer:pci:%s", h.address(0), bdf), fmt.Sprintf("../../virtual/devlink/pci:%s--pci:%s", h.address(0), bdf))
		b.link(dir+"/physfn", "../"+h.address(0))
		b.link(fmt.Sprintf("/sys/devices/pci0000:00/%s/virtfn%d", h.address(0), fn-1), "../"+bdf)
	}
}

func (h *Host) pf(b builder) {
	dir := "/sys/devices/pci0000:00/" + h.address(0)
	b.text(dir+"/sriov_totalvfs", fmt.Sprintf("%d\n", h.o.TotalVFs))
	b.text(dir+"/sriov_offset", "1\n")
	b.text(dir+"/sriov_stride", "1\n")
	b.text(dir+"/sriov_vf_device", fmt.Sprintf("%x\n", h.o.Device))
	b.text(dir+"/sriov_vf_total_msix", "0\n")
	b.add(dir+"/sriov_numvfs", node{
		mode: 0o644, read: decimal(func() uint64 { return uint64(h.s.NumVFs) }), write: h.writeNumVFs,
	})
	b.add(dir+"/sriov_drivers_autoprobe", node{mode: 0o644, read: func() (string, error) {
		if h.s.Autoprobe {
			return "1\n", nil
		}
		return "0\n", nil
	}, write: h.writeAutoprobe})
}

// provisioning is the large part of the tree that is there while xe runs the PF, and does not change its shape.
func (h *Host) provisioning() builder {
	b := builder{"/": {mode: fs.ModeDir | 0o755}}
	dir := "/sys/devices/pci0000:00/" + h.address(0)
	for g := range h.s.GTs {
		b.dir(fmt.Sprintf("%s/tile0/gt%d", dir, g))
	}
	if !h.o.Flat {
		h.adminTree(b, dir+"/sriov_admin")
	}
	h.debugfs(b)
	return b
}

func (h *Host) adminTree(b builder, dir string) {
	var all []int
	for fn := range h.s.Functions {
		all = append(all, fn)
		d := dir + "/" + functionName(fn)
		for name := range clamps {
			b.add(d+"/profile/"+name, h.whenReady(h.admin(name, fn)))
		}
		b.add(d+"/profile/sched_priority", h.whenReady(h.adminPriority(fn)))
		if fn > 0 {
			b.add(d+"/stop", h.whenReady(h.stopFile(fn)))
		}
	}
	for name := range clamps {
		b.add(dir+"/.bulk_profile/"+name, h.whenReady(h.admin(name, all...)))
	}
	b.add(dir+"/.bulk_profile/sched_priority", h.whenReady(h.bulkPriority()))
	if h.o.VRAMQuota && h.o.VRAM > 0 {
		b.add(dir+"/.bulk_profile/vram_quota", h.whenReady(h.adminVRAM(all[1:]...)))
		for _, fn := range all[1:] {
			b.add(dir+"/"+functionName(fn)+"/profile/vram_quota", h.whenReady(h.adminVRAM(fn)))
		}
	}
}

func functionName(fn int) string {
	if fn == 0 {
		return "pf"
	}
	return fmt.Sprintf("vf%d", fn)
}

var thresholds = []string{"cat_error_count", "engine_reset_count", "page_fault_count", "guc_time_us", "irq_time_us", "doorbell_time_us"}

// debugfs places each function's files: in a tree of its own, or flat in the GTs' directories.
func (h *Host) debugfs(b builder) {
	root := "/sys/kernel/debug/dri/" + h.address(0)
	for _, minor := range []int{h.o.Card, h.o.Card + firstRender} {
		b.link(fmt.Sprintf("/sys/kernel/debug/dri/%d", minor), h.address(0))
	}
	b.text(root+"/name", fmt.Sprintf("xe dev=%[1]s unique=%[1]s\n", h.address(0)))
	h.deviceFiles(b, root)
	h.controlFiles(b, root)
	for fn := range h.s.Functions {
		tileDir := fmt.Sprintf("%s/sriov/%s/tile0", root, functionName(fn))
		if h.o.Flat {
			tileDir = fmt.Sprintf("%s/gt0/%s", root, functionName(fn))
		}
		for name, n := range h.tileFiles(fn) {
			if h.o.Flat {
				name = strings.Replace(name, "vram_", "lmem_", 1)
			}
			b.add(tileDir+"/"+name, n)
		}
		if !h.o.Flat {
			h.tileLinks(b, tileDir+"/gt0", h.tileFiles(fn))
		}
		for g := range h.s.GTs {
			gtDir := fmt.Sprintf("%s/gt%d", tileDir, g)
			if h.o.Flat {
				gtDir = fmt.Sprintf("%s/gt%d/%s", root, g, functionName(fn))
			}
			for name, n := range h.gtFiles(fn, g) {
				b.add(gtDir+"/"+name, n)
			}
		}
	}
}

func (h *Host) tileFiles(fn int) map[string]node {
	f := &h.s.Functions[fn]
	files := map[string]node{}
	if fn == 0 {
		files["ggtt_spare"] = h.spare(minGGTTSpare, math.MaxUint64, pageSize, func() uint64 { return h.s.GGTTSpare }, func(v uint64) { h.s.GGTTSpare = v })
		files["ggtt_available"] = node{mode: 0o444, read: h.ggttAvailable}
		files["ggtt_provisioned"] = h.provisioned(func(f *function) string {
			if f.GGTT.Size == 0 {
				return ""
			}
			return fmt.Sprintf("%#x-%#x\t(%s)", f.GGTT.Start, f.GGTT.end()-1, size(f.GGTT.Size))
		})
	} else {
		files["ggtt_quota"] = h.config(math.MaxUint64, func() uint64 { return f.GGTT.Size }, func(v uint64) error { return h.setGGTT(fn, v) })
	}
	if h.o.VRAM == 0 {
		return files
	}
	if fn == 0 {
		files["vram_spare"] = h.spare(minVRAMSpare, math.MaxUint64, 1, func() uint64 { return h.s.VRAMSpare }, func(v uint64) { h.s.VRAMSpare = v })
		files["vram_provisioned"] = h.provisioned(func(f *function) string {
			if f.VRAM == 0 {
				return ""
			}
			return fmt.Sprintf("%d\t(%s)", f.VRAM, size(f.VRAM))
		})
	} else {
		files["vram_quota"] = h.config(math.MaxUint64, func() uint64 { return f.VRAM }, func(v uint64) error { return h.setVRAM(fn, v) })
	}
	return files
}

func (h *Host) gtFiles(fn, g int) map[string]node {
	s := &h.s.Functions[fn].GTs[g]
	files := map[string]node{"sched_priority": h.priority(fn, g)}
	names := slices.Clone(thresholds)
	if !h.o.Flat {
		names = append(names, "multi_lrc_count")
	}
	for i := range names {
		names[i] = "threshold_" + names[i]
	}
	for _, name := range names {
		files[name] = h.in(s.Numbers, name)
	}
	for name := range clamps {
		files[name] = h.slice(s.Numbers, name)
	}
	if fn > 0 {
		files["contexts_quota"] = h.config(math.MaxUint32, func() uint64 { return s.Contexts.Size }, func(v uint64) error { return h.setContexts(fn, g, v) })
		files["doorbells_quota"] = h.config(math.MaxUint32, func() uint64 { return s.Doorbells.Size }, func(v uint64) error { return h.setDoorbells(fn, g, v) })
		return files
	}
	m := h.s.GTs[g].Numbers
	for _, name := range []string{"reset_engine", "sched_if_idle"} {
		files[name] = h.flag(g, name)
	}
	files["sample_period_ms"] = h.in(m, "sample_period_ms")
	files["contexts_spare"] = h.spare(minContexts, maxContexts, 1, func() uint64 { return m["contexts_spare"] }, func(v uint64) { set(m, "contexts_spare", v) })
	files["doorbells_spare"] = h.spare(0, maxDoorbells, 1, func() uint64 { return m["doorbells_spare"] }, func(v uint64) { set(m, "doorbells_spare", v) })
	files["contexts_provisioned"] = h.provisioned(ids(contexts(g)))
	files["doorbells_provisioned"] = h.provisioned(ids(doorbells(g)))
	files["runtime_registers"] = h.runtimeRegisters(g)
	files["adverse_events"] = node{mode: 0o444, read: func() (string, error) { return "", nil }}
	return files
}
