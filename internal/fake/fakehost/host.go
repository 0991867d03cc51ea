package fakehost

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Options describes the fake host.
type Options struct {
	Bus      int // the PF is 0000:<Bus>:<Slot>.0
	Slot     int
	Device   uint16 // the PF's and the VFs' device id
	Card     int    // the PF's DRM card number
	TotalVFs int
	GTs      int    // of the one tile: 1 (main) or 2 (main and media)
	VRAM     uint64 // free bytes of local memory; 0 for an integrated GPU
	Flat     bool   // debugfs as up to Linux 6.18, and no sriov_admin
	// Modules are the modules that can be loaded. The value is the error of loading, or "" for
	// success.
	Modules map[string]string
	Loaded  []string // modules loaded at the beginning
	Cmdline string   // the kernel's command line
	NoIOMMU bool
	// NoMigration is set for a GPU, or a firmware, that cannot save and restore VFs. The files
	// exist all the same.
	NoMigration bool
	VRAMQuota   bool  // sysfs has vram_quota (since Linux 7.1)
	AdminOnly   bool  // configfs sets the PF to administration only
	Power       Power // the zero value is a host that cannot sleep
}

// BMG returns a discrete two-GT GPU like a Battlemage G21 with 12 GB, but with only a few VFs. The
// modules of xe and a vendor's VFIO driver exist, and are not loaded.
func BMG() Options {
	return Options{
		Bus: 3, Device: 0xe20b, Card: 1, TotalVFs: 6, GTs: 2, VRAM: 12384 << 20,
		Modules: map[string]string{"xe": "", "xe_vfio_pci": "", "vfio_pci": ""},
		Cmdline: "root=/dev/sda1 intel_iommu=on",
	}
}

// PTL returns an integrated two-GT GPU like a Panther Lake.
func PTL() Options {
	o := BMG()
	o.Bus, o.Slot, o.Device, o.Card, o.TotalVFs, o.VRAM = 0, 2, 0xb080, 0, 7, 0
	return o
}

// Hooks are settings that a test may change on a running host. Set them while nothing uses the
// host.
type Hooks struct {
	// Hook, if set, is called before each write, and after it with done true. If the first call
	// returns an error, the write fails.
	Hook func(path, value string, done bool) error
	// Firmware, if set, is called before a VF is paused, resumed, stopped, saved, restored or reset
	// on a GT, and for each part of a migration ("save data", "save finish", ...). It may return an
	// errno to refuse, and may block.
	Firmware func(op string, vf, gt int) error
	// NeverBind prevents drivers from binding, although drivers_probe succeeds.
	NeverBind bool
	// Oopses lists the kernel's functions that have oopsed. vmtb must never cause an oops.
	Oopses []string
	// Lockdown is a process that holds lockdown_vfs_enabling.
	Lockdown bool
}

// A Host is a fake host. Its methods may be called from several goroutines at once. It has the
// files, the modules and the processes. pci has the functions and their drivers, attributes the
// files of the GPU's provisioning, and controller and migration the VFs.
type Host struct {
	Hooks
	*core
	pci       *pciBus
	attr      *attributes
	ctl       *controller
	migration *migration

	lockdowns int // number of open lockdown_vfs_enabling files
}

// New makes a host.
func New(o Options) *Host {
	h := &Host{core: &core{o: o, s: newState(o)}}
	h.hooks, h.freed.L = &h.Hooks, &h.mu
	p := &provisioner{h.core}
	h.ctl = &controller{core: h.core}
	h.migration = &migration{core: h.core, ctl: h.ctl}
	h.attr = &attributes{provisioner: p, ctl: h.ctl, migration: h.migration}
	h.pci = &pciBus{
		core: h.core, provisioner: p, ctl: h.ctl, locked: func() bool { return h.Lockdown || h.lockdowns > 0 },
	}
	for _, m := range o.Loaded {
		h.load(m)
	}
	return h
}

// A Snapshot is the whole state of a host.
type Snapshot string

// Snapshot returns the state.
func (h *Host) Snapshot() Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.snapshot()
}

func (h *Host) snapshot() Snapshot {
	b, _ := json.Marshal(h.s) // plain data: it cannot fail
	return Snapshot(b)
}

// FromSnapshot returns another host in the state of s.
func (h *Host) FromSnapshot(s Snapshot) *Host {
	c := New(h.o)
	c.s = state{}
	_ = json.Unmarshal([]byte(s), &c.s) // Snapshot wrote it
	c.nodes, c.fixed = nil, nil
	return c
}

// Dump returns all files that can be read without side effects, by path, and the hidden
// provisioning mode.
func (h *Host) Dump() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]string{"(custom mode)": strconv.FormatBool(h.s.Custom)}
	for p, n := range h.tree() {
		switch {
		case n.link != "":
			all[p] = "-> " + n.link
		case n.read != nil && n.mode.Perm() != 0o600: // reading those operates on a VF
			text, err := n.read()
			all[p] = fmt.Sprint(text, err)
		}
	}
	return all
}

// A node is a file, link or directory of the tree.
type node struct {
	mode  fs.FileMode
	link  string
	read  func() (string, error)
	write func(string) error
	open  func() io.ReadWriteCloser // nil unless the file is a stream
}

// find resolves a path. It follows links on the way. It follows the last link only if follow is
// true.
func (h *Host) find(op, p string, follow bool) (string, node, error) {
	tree := h.tree()
	at, rest := "/", strings.TrimPrefix(path.Clean(p), "/")
	for hops := 0; ; {
		head, tail, more := strings.Cut(rest, "/")
		next := path.Join(at, head)
		n, ok := tree[next]
		if !ok {
			return "", node{}, &fs.PathError{Op: op, Path: p, Err: syscall.ENOENT}
		}
		if n.link != "" && (more || follow) {
			if hops++; hops > 40 {
				return "", node{}, &fs.PathError{Op: op, Path: p, Err: syscall.ELOOP}
			}
			target := n.link
			if !path.IsAbs(target) {
				target = path.Join(at, target)
			}
			at, rest = "/", strings.TrimPrefix(path.Join(target, tail), "/")
			continue
		}
		if !more {
			return next, n, nil
		}
		at, rest = next, tail
	}
}

// ReadFile implements host.System.
func (h *Host) ReadFile(p string) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, n, err := h.find("open", p, true)
	switch {
	case err != nil:
		return nil, err
	case n.mode.IsDir():
		err = syscall.EISDIR
	case n.mode&0o400 == 0 && strings.HasPrefix(at, "/sys/kernel/debug/"):
		return nil, nil // root may open it, but it has no content
	case n.mode&0o400 == 0:
		err = syscall.EACCES
	}
	if err == nil {
		var text string
		if text, err = n.read(); err == nil {
			return []byte(text), nil
		}
	}
	return nil, &fs.PathError{Op: "read", Path: p, Err: err}
}

// WriteFile implements host.System.
func (h *Host) WriteFile(p string, data []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, n, err := h.find("open", p, true)
	switch {
	case err != nil:
		return err
	case n.mode.IsDir():
		err = syscall.EISDIR
	case n.mode&0o200 == 0 && strings.HasPrefix(at, "/sys/kernel/debug/"):
		err = syscall.EINVAL // root may open it, but it has no handler
	case n.mode&0o200 == 0:
		err = syscall.EACCES
	case len(data) == 0 && strings.HasPrefix(at, "/sys/"):
		return nil // the write does not reach the handler
	default:
		err = h.change(at, string(data), func() error { return n.write(string(data)) })
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: p, Err: err}
	}
	return nil
}

// change makes a change between two calls of the hook. The caller holds the lock; change releases
// it during the calls.
func (h *Host) change(p, value string, change func() error) error {
	if err := h.hook(p, value, false); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	return h.hook(p, value, true)
}

func (h *Host) hook(p, value string, done bool) error {
	if h.Hook == nil {
		return nil
	}
	h.mu.Unlock()
	defer h.mu.Lock()
	return h.Hook(p, value, done)
}

// Readlink implements host.System.
func (h *Host) Readlink(p string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, n, err := h.find("readlink", p, false)
	if err == nil && n.link == "" {
		err = &fs.PathError{Op: "readlink", Path: p, Err: syscall.EINVAL}
	}
	return n.link, err
}

// Stat implements host.System.
func (h *Host) Stat(p string) (fs.FileInfo, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, n, err := h.find("lstat", p, false)
	if err != nil {
		return nil, err
	}
	return info{path.Base(at), n.mode}, nil
}

// ReadDir implements host.System.
func (h *Host) ReadDir(p string) ([]fs.DirEntry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, n, err := h.find("open", p, true)
	if err == nil && !n.mode.IsDir() {
		err = &fs.PathError{Op: "readdir", Path: p, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return nil, err
	}
	var list []fs.DirEntry
	for q, n := range h.nodes {
		if q != "/" && path.Dir(q) == at {
			list = append(list, fs.FileInfoToDirEntry(info{path.Base(q), n.mode}))
		}
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

type info struct {
	name string
	mode fs.FileMode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return 4096 }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
