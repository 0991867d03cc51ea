package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/internal/flock"
)

// BootSlots limits how many machines of a host boot at once, over all processes. More machines
// at once than the host has CPUs do not boot faster than one after the other (docs/lab.md has
// figures).
type BootSlots struct {
	Dir string // has a file for each slot
	N   int    // number of slots; 0 stands for the number of CPUs that this process may use
}

// Take takes a slot as soon as one is free, and returns the function that frees it. The caller
// calls that function when the machine has booted or failed to boot. If all slots are taken, Take
// calls show, which must call wait and may tell the user. The kernel frees the slots of a process
// that dies.
func (s BootSlots) Take(
	ctx context.Context, show func(slots int, wait func() error) error,
) (release func(), err error) {
	if s.N == 0 {
		s.N = runtime.NumCPU()
	}
	files, err := s.open()
	if err != nil {
		return nil, &bench.InfraError{Op: "wait until a machine may boot", Err: err}
	}
	i, err := flock.Any(files)
	if errors.Is(err, flock.ErrInUse) {
		err = show(s.N, func() (err error) {
			i, err = flock.WaitAny(ctx, files)
			return err
		})
	}
	for j, f := range files {
		if j != i || err != nil {
			f.Close()
		}
	}
	switch {
	case err == nil:
		return func() { files[i].Close() }, nil
	case ctx.Err() != nil:
		return nil, err
	}
	return nil, &bench.InfraError{Op: "wait until a machine may boot", Err: err}
}

func (s BootSlots) open() (files []*os.File, err error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, err
	}
	for i := range s.N {
		name := filepath.Join(s.Dir, fmt.Sprintf("slot%d", i))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o644)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}
