package host

import (
	"context"
	"io"
	"os"

	"vmtb/bench"
	"vmtb/bench/sysfs"
	"vmtb/bench/undo"
)

// OS is the operating system that this process runs on.
type OS struct{ undo.OS }

var (
	_ System       = OS{}
	_ sysfs.Opener = OS{}
)

// Create implements [System].
func (OS) Create(path string, data []byte) error { return os.WriteFile(path, data, 0o644) }

// OpenFile opens an existing file as a stream: see [sysfs.Opener].
func (OS) OpenFile(path string, flag int) (io.ReadWriteCloser, error) {
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err // not a nil *os.File in an interface
	}
	return f, nil
}

// Exec implements [System].
func (o OS) Exec(ctx context.Context, c bench.Command) (bench.Result, error) {
	p, err := o.Spawn(ctx, c)
	if err != nil {
		return bench.Result{}, err
	}
	return bench.Finish(ctx, p)
}
