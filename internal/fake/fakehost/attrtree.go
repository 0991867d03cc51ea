package fakehost

import (
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
)

// tree returns the part of the tree for provisioning. It exists while xe runs the PF, and its shape
// does not change.
func (a *attributes) tree() builder {
	b := builder{"/": {mode: fs.ModeDir | 0o755}}
	dir := "/sys/devices/pci0000:00/" + a.address(0)
	for g := range a.s.GTs {
		b.dir(fmt.Sprintf("%s/tile0/gt%d", dir, g))
	}
	if !a.o.Flat {
		a.adminTree(b, dir+"/sriov_admin")
	}
	a.debugfs(b)
	return b
}

func (a *attributes) adminTree(b builder, dir string) {
	var all []int
	for fn := range a.s.Functions {
		all = append(all, fn)
		d := dir + "/" + functionName(fn)
		for name := range clamps {
			b.add(d+"/profile/"+name, a.admin(name, fn))
		}
		b.add(d+"/profile/sched_priority", a.adminPriority(fn))
		if fn > 0 {
			b.add(d+"/stop", a.ctl.stopFile(fn))
		}
	}
	for name := range clamps {
		b.add(dir+"/.bulk_profile/"+name, a.admin(name, all...))
	}
	b.add(dir+"/.bulk_profile/sched_priority", a.bulkPriority())
	if a.o.VRAMQuota && a.o.VRAM > 0 {
		b.add(dir+"/.bulk_profile/vram_quota", a.adminVRAM(all[1:]...))
		for _, fn := range all[1:] {
			b.add(dir+"/"+functionName(fn)+"/profile/vram_quota", a.adminVRAM(fn))
		}
	}
}

func functionName(fn int) string {
	if fn == 0 {
		return "pf"
	}
	return fmt.Sprintf("vf%d", fn)
}

var thresholds = []string{
	"cat_error_count", "engine_reset_count", "page_fault_count", "guc_time_us", "irq_time_us", "doorbell_time_us",
}

// debugfs adds each function's files: in a separate tree, or flat in the GTs' directories.
func (a *attributes) debugfs(b builder) {
	root := "/sys/kernel/debug/dri/" + a.address(0)
	for _, minor := range []int{a.o.Card, a.o.Card + firstRender} {
		b.link(fmt.Sprintf("/sys/kernel/debug/dri/%d", minor), a.address(0))
	}
	b.text(root+"/name", fmt.Sprintf("xe dev=%[1]s unique=%[1]s\n", a.address(0)))
	a.deviceFiles(b, root)
	a.controlFiles(b, root)
	for fn := range a.s.Functions {
		tileDir := fmt.Sprintf("%s/sriov/%s/tile0", root, functionName(fn))
		if a.o.Flat {
			tileDir = fmt.Sprintf("%s/gt0/%s", root, functionName(fn))
		}
		for name, n := range a.tileFiles(fn) {
			if a.o.Flat {
				name = strings.Replace(name, "vram_", "lmem_", 1)
			}
			b.add(tileDir+"/"+name, n)
		}
		if !a.o.Flat {
			a.tileLinks(b, tileDir+"/gt0", a.tileFiles(fn))
		}
		for g := range a.s.GTs {
			gtDir := fmt.Sprintf("%s/gt%d", tileDir, g)
			if a.o.Flat {
				gtDir = fmt.Sprintf("%s/gt%d/%s", root, g, functionName(fn))
			}
			for name, n := range a.gtFiles(fn, g) {
				b.add(gtDir+"/"+name, n)
			}
		}
	}
}

func (a *attributes) tileFiles(fn int) map[string]node {
	f := &a.s.Functions[fn]
	files := map[string]node{}
	if fn == 0 {
		files["ggtt_spare"] = a.spare(
			minGGTTSpare, math.MaxUint64, pageSize, func() uint64 { return a.s.GGTTSpare },
			func(v uint64) { a.s.GGTTSpare = v },
		)
		files["ggtt_available"] = node{mode: 0o444, read: a.ggttAvailable}
		files["ggtt_provisioned"] = a.provisioned(func(f *function) string {
			if f.GGTT.Size == 0 {
				return ""
			}
			return fmt.Sprintf("%#x-%#x\t(%s)", f.GGTT.Start, f.GGTT.end()-1, size(f.GGTT.Size))
		})
	} else {
		files["ggtt_quota"] = a.number(
			math.MaxUint64, func() uint64 { return f.GGTT.Size }, func(v uint64) error { return a.setGGTT(fn, v) },
		)
	}
	if a.o.VRAM == 0 {
		return files
	}
	if fn == 0 {
		files["vram_spare"] = a.spare(
			minVRAMSpare, math.MaxUint64, 1, func() uint64 { return a.s.VRAMSpare },
			func(v uint64) { a.s.VRAMSpare = v },
		)
		files["vram_provisioned"] = a.provisioned(func(f *function) string {
			if f.VRAM == 0 {
				return ""
			}
			return fmt.Sprintf("%d\t(%s)", f.VRAM, size(f.VRAM))
		})
	} else {
		files["vram_quota"] = a.number(
			math.MaxUint64, func() uint64 { return f.VRAM }, func(v uint64) error { return a.setVRAM(fn, v) },
		)
	}
	return files
}

func (a *attributes) gtFiles(fn, g int) map[string]node {
	s := &a.s.Functions[fn].GTs[g]
	files := map[string]node{"sched_priority": a.priority(fn, g)}
	names := slices.Clone(thresholds)
	if !a.o.Flat {
		names = append(names, "multi_lrc_count")
	}
	for i := range names {
		names[i] = "threshold_" + names[i]
	}
	for _, name := range names {
		files[name] = a.in(s.Numbers, name)
	}
	for name := range clamps {
		files[name] = a.slice(s.Numbers, name)
	}
	if fn > 0 {
		files["contexts_quota"] = a.number(
			math.MaxUint32, func() uint64 { return s.Contexts.Size },
			func(v uint64) error { return a.setContexts(fn, g, v) },
		)
		files["doorbells_quota"] = a.number(
			math.MaxUint32, func() uint64 { return s.Doorbells.Size },
			func(v uint64) error { return a.setDoorbells(fn, g, v) },
		)
		return files
	}
	m := a.s.GTs[g].Numbers
	for _, name := range []string{"reset_engine", "sched_if_idle"} {
		files[name] = a.flag(g, name)
	}
	files["sample_period_ms"] = a.in(m, "sample_period_ms")
	files["contexts_spare"] = a.spare(
		minContexts, maxContexts, 1, func() uint64 { return m["contexts_spare"] },
		func(v uint64) { set(m, "contexts_spare", v) },
	)
	files["doorbells_spare"] = a.spare(
		0, maxDoorbells, 1, func() uint64 { return m["doorbells_spare"] },
		func(v uint64) { set(m, "doorbells_spare", v) },
	)
	files["contexts_provisioned"] = a.provisioned(ids(contexts(g)))
	files["doorbells_provisioned"] = a.provisioned(ids(doorbells(g)))
	files["runtime_registers"] = a.runtimeRegisters(g)
	files["adverse_events"] = node{mode: 0o444, read: func() (string, error) { return "", nil }}
	return files
}

// controlFiles adds the files that control VFs: for all GTs at once since Linux 6.19, and one for
// each GT.
func (a *attributes) controlFiles(b builder, root string) {
	for vf := 1; vf < len(a.s.Functions); vf++ {
		dir := fmt.Sprintf("%s/sriov/vf%d", root, vf)
		for gt := range a.s.GTs {
			gtDir := fmt.Sprintf("%s/tile0/gt%d", dir, gt)
			if a.o.Flat {
				gtDir = fmt.Sprintf("%s/gt%d/vf%d", root, gt, vf)
			}
			b.add(gtDir+"/control", a.ctl.controlFile(vf, gt))
		}
		if a.o.Flat {
			continue
		}
		b.add(dir+"/pause", a.ctl.trigger(func() error { return a.ctl.everyGT(vf, pauseVF) }))
		b.add(dir+"/resume", a.ctl.trigger(func() error { return a.ctl.everyGT(vf, resumeVF) }))
		b.add(dir+"/stop", a.ctl.trigger(func() error { return a.ctl.everyGT(vf, stopVF) }))
		b.add(dir+"/reset", a.ctl.trigger(func() error { return a.ctl.reset(vf) }))
		a.migration.files(b, dir, vf)
	}
}
