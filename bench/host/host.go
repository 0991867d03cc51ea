package host

import (
	"context"
	"io/fs"

	"vmtb/bench"
	"vmtb/bench/sysfs"
	"vmtb/bench/undo"
)

// A System is an operating system: [OS], or a fake in tests.
type System interface {
	undo.System
	ReadDir(path string) ([]fs.DirEntry, error)
	// Create makes or truncates a regular file.
	Create(path string, data []byte) error
	Exec(ctx context.Context, c bench.Command) (bench.Result, error)
	// Spawn implements [bench.Machine]'s Start.
	Spawn(ctx context.Context, c bench.Command) (bench.Process, error)
}

// A Host is the machine under test.
type Host struct {
	System System
}

var _ bench.Machine = (*Host)(nil)

// New returns the Host of the operating system sys.
func New(sys System) *Host { return &Host{sys} }

// Tree returns the host's sysfs and debugfs. Changes are recorded in log.
func (h *Host) Tree(log undo.Journal) *sysfs.Tree { return &sysfs.Tree{FS: h.System, Log: log} }

// String implements [bench.Machine].
func (*Host) String() string { return "host" }

// Exec implements [bench.Machine]. The command is the leader of a process group; when ctx ends the
// whole group gets a SIGTERM and, after c.Grace, a SIGKILL.
func (h *Host) Exec(ctx context.Context, c bench.Command) (bench.Result, error) {
	return h.System.Exec(ctx, c)
}

// Start implements [bench.Machine].
func (h *Host) Start(ctx context.Context, c bench.Command) (bench.Process, error) {
	return h.System.Spawn(ctx, c)
}

// ReadFile implements [bench.Machine].
func (h *Host) ReadFile(_ context.Context, path string) ([]byte, error) {
	return h.System.ReadFile(path)
}

// WriteFile implements [bench.Machine]. The write is not recorded in a journal: use it only for a
// run's own files.
func (h *Host) WriteFile(_ context.Context, path string, data []byte) error {
	return h.System.Create(path, data)
}

// ReadDir implements [bench.Machine].
func (h *Host) ReadDir(_ context.Context, path string) ([]bench.DirEntry, error) {
	entries, err := h.System.ReadDir(path)
	if err != nil {
		return nil, err
	}
	list := make([]bench.DirEntry, len(entries))
	for i, e := range entries {
		list[i] = bench.DirEntry{Name: e.Name(), Mode: e.Type()}
	}
	return list, nil
}
