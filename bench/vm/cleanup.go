package vm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"vmtb/bench"
	"vmtb/bench/undo"
)

// A reverter has the steps that take back what a machine's start has done on the host.
type reverter struct {
	journal func(undo.Record) error // see [Options]

	mu    sync.Mutex
	steps []func(context.Context) error
	dirs  []string // the private directories, which the guard removes if vmtb dies
}

func (r *reverter) add(step func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, step)
}

// run takes the steps, the last one first. It forgets those that succeed, so the next run tries the
// others again.
func (r *reverter) run(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	var failed []func(context.Context) error
	for _, step := range slices.Backward(r.steps) {
		if err := step(ctx); err != nil {
			errs, failed = append(errs, err), append(failed, step)
		}
	}
	slices.Reverse(failed)
	r.steps = failed
	return errors.Join(errs...)
}

// private makes a private directory that is removed with the machine.
func (r *reverter) private(base, prefix string) (string, error) {
	dir, err := privateDir(base, prefix, r.journal)
	if err != nil {
		return "", infra("make a private directory", err)
	}
	r.own(dir, func() error { return os.RemoveAll(dir) })
	return dir, nil
}

// own makes remove a step. If vmtb dies before that, the guard removes dir.
func (r *reverter) own(dir string, remove func() error) {
	r.add(func(context.Context) error { return remove() })
	r.dirs = append(r.dirs, dir)
}

// socketBase returns the directory below which private directories for sockets are made.
func socketBase(asked string) (string, error) {
	bases := []string{asked}
	if asked == "" {
		bases = []string{filepath.Join(os.TempDir(), "vmtb"), "/tmp/vmtb"}
		if os.Geteuid() == 0 {
			bases = append([]string{"/run/vmtb"}, bases...)
		} else if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" {
			bases = append([]string{filepath.Join(d, "vmtb")}, bases...)
		}
	}
	var errs []error
	for _, b := range bases {
		if len(b)+1+privateNameLen > maxSocketDir {
			errs = append(errs, fmt.Errorf("%s: too long for a directory of sockets", b))
			continue
		}
		if err := os.MkdirAll(b, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		return b, nil
	}
	return "", &bench.InfraError{
		Op: "make a directory for sockets", Err: errors.Join(errs...), Advice: "set TMPDIR to a short path",
	}
}

// privateDir makes a directory of mode 0700 and random name in base.
func privateDir(base, prefix string, journal func(undo.Record) error) (string, error) {
	path := filepath.Join(base, prefix+strings.ToLower(rand.Text()[:privateNameLen]))
	if err := journal(undo.Path{Path: path, Dir: true}); err != nil {
		return "", err
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	return path, os.Mkdir(path, 0o700)
}

// A socketDir is the private directory of a machine's sockets.
type socketDir string

func (d socketDir) path(name string) string { return filepath.Join(string(d), name) }

// consolePipe returns the pipe that QEMU writes the console to.
func (d socketDir) consolePipe() string { return d.path("console-pipe") }

// maxSocketDir is how long a private directory's path may be: sun_path has 108 bytes (unix(7)), one
// of them for the NUL that QEMU adds, and the longest socket name with its slash takes 8.
const maxSocketDir = 107 - 1 - len(PeopleSocket)

const privateNameLen = 8
