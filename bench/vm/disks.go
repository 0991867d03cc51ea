package vm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"vmtb/bench"
	"vmtb/bench/undo"
)

// maxSocketDir is how long a private directory's path may be: sun_path has 108 bytes (unix(7)), one of them for the
// NUL that QEMU adds, and the longest socket name with its slash takes 8.
const maxSocketDir = 107 - 1 - len(PeopleSocket)

// socketBase is the directory below which private directories for sockets are made.
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
	return "", &bench.InfraError{Op: "make a directory for sockets", Err: errors.Join(errs...), Advice: "set TMPDIR to a short path"}
}

const privateNameLen = 8

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

// An ownedDir is a directory that is removed by whoever owns it last.
type ownedDir struct {
	mu   sync.Mutex
	path string // "" is none, or another's now
}

func (d *ownedDir) set(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.path = path
}

// take gives the directory away.
func (d *ownedDir) take() (path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	path, d.path = d.path, ""
	return path
}

func (d *ownedDir) remove() error {
	path := d.take()
	if path == "" {
		return nil
	}
	err := os.RemoveAll(path)
	if err != nil {
		d.set(path) // to be tried again
	}
	return err
}

// ownOverlays makes the machine the owner of the directory of its overlays.
func (m *VM) ownOverlays(dir string) {
	m.overlayDir.set(dir)
	m.own(dir, m.overlayDir.remove)
}

// overlays fills in the formats of the disks and makes an overlay for each that wants one.
func (m *VM) overlays(ctx context.Context) (err error) {
	dir := ""
	files := make([]string, len(m.spec.Disks))
	for i := range m.spec.Disks {
		d := &m.spec.Disks[i]
		if d.Image, err = filepath.Abs(d.Image); err != nil { // an overlay finds its base from where it is itself
			return infra("find an image", err)
		}
		if d.Format == "" {
			info, err := InspectImage(ctx, d.Image)
			if err != nil {
				return err
			}
			d.Format = info.Format
		}
		if d.Access != Overlay {
			continue
		}
		if dir == "" {
			if dir, err = privateDir(m.opts.WorkDir, "vmtb-", m.opts.Journal); err != nil {
				return infra("make a private directory", err)
			}
			m.ownOverlays(dir)
		}
		files[i] = filepath.Join(dir, fmt.Sprintf("disk%d.qcow2", i))
		if _, err := qemuImg(ctx, "create", "-q", "-f", "qcow2", "-b", d.Image, "-F", d.Format, files[i]); err != nil {
			return badImage(d.Image, err)
		}
	}
	m.overlayFiles = files
	return nil
}

// badImage blames the image for what qemu-img said, unless qemu-img could not even run or finish.
func badImage(image string, err error) error {
	if said := new(saidError); !errors.As(err, &said) {
		return err
	}
	return &bench.UsageError{Err: fmt.Errorf("disk image %s: %w", image, err)}
}
