package fakehost

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
)

// A builder collects the nodes of a tree.
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

// tree returns the current tree. The caller holds the lock.
func (h *Host) tree() map[string]node {
	if h.nodes == nil {
		if h.fixed == nil {
			h.fixed = h.attr.tree()
		}
		b := builder{"/": {mode: fs.ModeDir | 0o755}}
		if h.pfBound() {
			maps.Copy(b, h.fixed)
		}
		for _, d := range []string{"/tmp", "/run", "/proc", "/sys/kernel/iommu_groups", "/sys/kernel/debug/dri"} {
			b.dir(d)
		}
		h.system(b)
		h.pci.drivers(b)
		for fn := 0; fn <= h.s.NumVFs; fn++ {
			h.pci.device(b, fn)
		}
		h.pci.pf(b)
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
}
