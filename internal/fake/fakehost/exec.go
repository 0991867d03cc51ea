package fakehost

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"vmtb/bench"
	"vmtb/bench/undo"
)

// Start adds a process with open files, such as a QEMU with "/dev/vfio/11".
func (h *Host) Start(p undo.Process, open ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.s.Processes[p.PID] = process{p.Comm, p.StartTime, open}
	h.nodes = nil
}

// Kill implements host.System.
func (h *Host) Kill(_ context.Context, p undo.Process) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now, ok := h.s.Processes[p.PID]; !ok || now.Comm != p.Comm || now.StartTime != p.StartTime {
		return nil
	}
	return h.change("(kill)", p.Comm, func() error {
		delete(h.s.Processes, p.PID)
		h.nodes = nil
		h.freed.Broadcast()
		return nil
	})
}

// Create implements host.System. It writes to an existing file of the kernel, and creates other
// files.
func (h *Host) Create(p string, data []byte) error {
	h.mu.Lock()
	at, n, err := h.find("open", p, true)
	_, made := h.s.Files[at]
	h.mu.Unlock()
	if err == nil && !made && n.write != nil {
		return h.WriteFile(p, data)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.tree()[path.Dir(p)]; !ok {
		return &fs.PathError{Op: "open", Path: p, Err: syscall.ENOENT}
	}
	return h.change(p, string(data), func() error {
		h.s.Files[p] = string(data)
		h.nodes = nil
		return nil
	})
}

// Mkdir makes a directory.
func (h *Host) Mkdir(p string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.change(p, "(mkdir)", func() error {
		h.s.Dirs = append(h.s.Dirs, p)
		h.nodes = nil
		return nil
	})
}

// Remove implements host.System, for files made with Create.
func (h *Host) Remove(p string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.s.Files[p]; !ok {
		return &fs.PathError{Op: "remove", Path: p, Err: syscall.ENOENT}
	}
	return h.change(p, "(remove)", func() error {
		delete(h.s.Files, p)
		h.nodes = nil
		return nil
	})
}

// SyncDir implements undo.System. It does nothing: this file system loses no data.
func (h *Host) SyncDir(string) error { return nil }

// RemoveAll implements host.System, for created files and directories.
func (h *Host) RemoveAll(p string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.change(p, "(remove all)", func() error {
		below := func(q string) bool { return q == p || strings.HasPrefix(q, p+"/") }
		for q := range h.s.Files {
			if below(q) {
				delete(h.s.Files, q)
			}
		}
		h.s.Dirs = slices.DeleteFunc(h.s.Dirs, below)
		h.nodes = nil
		return nil
	})
}

func (h *Host) modprobe(args []string) (bench.Result, error) {
	dry := slices.Contains(args, "--dry-run")
	name := strings.ReplaceAll(
		args[slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") })], "-", "_",
	)
	failure, ok := h.o.Modules[name]
	switch {
	case !ok:
		return bench.Result{ExitCode: 1, Stderr: []byte("modprobe: FATAL: Module " + name + " not found.\n")}, nil
	case dry:
		return bench.Result{}, nil
	case failure != "":
		return bench.Result{
			ExitCode: 1, Stderr: []byte("modprobe: ERROR: could not insert '" + name + "': " + failure + "\n"),
		}, nil
	}
	err := h.change("(modprobe)", name, func() error {
		h.load(name)
		return nil
	})
	return bench.Result{}, err
}

func (h *Host) load(name string) {
	if slices.Contains(h.s.Loaded, name) {
		return
	}
	h.s.Loaded = append(h.s.Loaded, name)
	slices.Sort(h.s.Loaded)
	if name == "xe" {
		_ = h.pci.probe(0) // loading succeeds even if probing fails
	}
	h.nodes = nil
}

// RemoveModule implements host.System. A vfio driver is in use while it has a device.
func (h *Host) RemoveModule(_ context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	name = strings.ReplaceAll(name, "-", "_")
	for i := range h.s.Functions {
		if name != "xe" && h.s.Functions[i].Driver == driverName(name) {
			return syscall.EBUSY
		}
	}
	return h.change("(rmmod)", name, func() error {
		if name == "xe" {
			h.pci.unbindPF()
		}
		h.s.Loaded = slices.DeleteFunc(h.s.Loaded, func(m string) bool { return m == name })
		h.nodes = nil
		return nil
	})
}

func driverName(module string) string { return strings.ReplaceAll(module, "_", "-") }
