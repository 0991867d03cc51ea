package undo

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
)

// A Process is a process that we started. Its record is the only one that is written right after
// its change, because the pid is not known before. Whoever starts a process must make sure that it
// does not outlive the gap (package bench/vm has a guard for that).
type Process struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // clock ticks after boot: field 22 of /proc/PID/stat
	Comm      string `json:"comm"`
	BootID    string `json:"boot_id"` // pids and start times repeat after a reboot
}

// Kind implements [Record].
func (Process) Kind() string { return "process" }

func (p Process) String() string { return fmt.Sprintf("process %d (%s) started", p.PID, p.Comm) }

// Undone implements [Record].
func (p Process) Undone() string { return fmt.Sprintf("process %d (%s) ended", p.PID, p.Comm) }

// Volatile is true: no process outlives the kernel.
func (Process) Volatile() bool { return true }

// Undo implements [Record].
func (p Process) Undo(ctx context.Context, sys System) error { return sys.Kill(ctx, p) }

// A Path is a file, socket, link or whole directory that is about to be made. Nothing existed there
// before.
type Path struct {
	Path string `json:"path"`
	Dir  bool   `json:"dir,omitempty"` // a directory, removed with its content
}

// Kind implements [Record].
func (Path) Kind() string { return "path" }

func (p Path) String() string { return p.Path + " created" }

// Undone implements [Record].
func (p Path) Undone() string { return p.Path + " removed" }

// Undo implements [Record]. If the record is of a directory and a file is there, or the reverse, it
// is not ours.
func (p Path) Undo(_ context.Context, sys System) error {
	if !filepath.IsAbs(p.Path) || filepath.Clean(p.Path) != p.Path || filepath.Dir(p.Path) == "/" {
		return fmt.Errorf("will not remove %q: not a clean absolute path below a top directory", p.Path)
	}
	info, err := sys.Stat(p.Path)
	switch {
	case err != nil: // removed by its owner, perhaps just now
	case info.IsDir() != p.Dir:
		return fmt.Errorf("%s is a %s: %w", p.Path, typeName(info.Mode()), ErrNotOurs)
	case p.Dir:
		err = sys.RemoveAll(p.Path)
	default:
		err = sys.Remove(p.Path)
	}
	if err := ignoreGone(err); err != nil {
		return err
	}
	return ignoreGone(sys.SyncDir(filepath.Dir(p.Path)))
}

func typeName(m fs.FileMode) string {
	if m.IsDir() {
		return "directory"
	}
	return "file"
}
