package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"vmtb/bench"
)

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

// disks are the machine's disks as files of the host: images, and the overlays of this run.
type disks struct {
	spec  *Spec
	files []string // for each disk its overlay, "" for one used as it is
	dir   ownedDir // of the overlays
	undo  *reverter
}

// own makes this machine the owner of the directory of its overlays.
func (d *disks) own(dir string) {
	d.dir.set(dir)
	d.undo.own(dir, d.dir.remove)
}

// makeOverlays fills in the formats of the disks, and makes an overlay below workDir for each disk
// that wants one.
func (d *disks) makeOverlays(ctx context.Context, workDir string) (err error) {
	dir := ""
	files := make([]string, len(d.spec.Disks))
	for i := range d.spec.Disks {
		disk := &d.spec.Disks[i]
		if disk.Image, err = filepath.Abs(disk.Image); err != nil { // an overlay finds its base from where it is itself
			return infra("find an image", err)
		}
		if disk.Format == "" {
			info, err := InspectImage(ctx, disk.Image)
			if err != nil {
				return err
			}
			disk.Format = info.Format
		}
		if disk.Access != Overlay {
			continue
		}
		if dir == "" {
			if dir, err = privateDir(workDir, "vmtb-", d.undo.journal); err != nil {
				return infra("make a private directory", err)
			}
			d.own(dir)
		}
		files[i] = filepath.Join(dir, fmt.Sprintf("disk%d.qcow2", i))
		if _, err := qemuImg(
			ctx, "create", "-q", "-f", "qcow2", "-b", disk.Image, "-F", disk.Format, files[i],
		); err != nil {
			return badImage(disk.Image, err)
		}
	}
	d.files = files
	return nil
}

// badImage blames the image for what qemu-img said, unless qemu-img could not even run or finish.
func badImage(image string, err error) error {
	if failed := new(outputError); !errors.As(err, &failed) {
		return err
	}
	return &bench.UsageError{Err: fmt.Errorf("disk image %s: %w", image, err)}
}

// nodes returns the block nodes that a snapshot includes, for the machine of that name. The first
// one gets the state.
func (d *disks) nodes(machine string) ([]string, error) {
	var nodes []string
	for i, disk := range d.spec.Disks {
		if disk.Access == ReadOnly {
			continue
		}
		if disk.Access == Direct && disk.Format != "qcow2" {
			return nil, &bench.UsageError{
				Err:    fmt.Errorf("machine %s: disk%d is %s: only qcow2 holds snapshots", machine, i, disk.Format),
				Advice: "give the disk an overlay",
			}
		}
		nodes = append(nodes, diskNode(i))
	}
	if len(nodes) == 0 {
		return nil, &bench.UsageError{
			Err:    fmt.Errorf("machine %s has no writable disk to hold a snapshot", machine),
			Advice: "give the machine a small empty disk",
		}
	}
	return nodes, nil
}

// file returns the file of a block node.
func (d *disks) file(node string) string {
	for i, disk := range d.spec.Disks {
		if diskNode(i) == node {
			if disk.Access == Overlay {
				return d.files[i]
			}
			return disk.Image
		}
	}
	return ""
}
