package lab

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"vmtb/bench/vm"
)

// A DUT need not boot each time. The state of one that has booted is kept beside the images, with the overlay of its
// disk, and others go on from there.
const (
	stateFile   = "state"
	overlayFile = "overlay.qcow2"
)

// Spec is the DUT's hardware and the state from which it goes on, which is made if it is not there yet. The files that it
// names stay until started is called, with the error of the start: QEMU has them open after one that went well, and a state
// from which a DUT did not go on is removed, unless ctx has ended or the error is misuse.
func (o Options) Spec(ctx context.Context) (s vm.Spec, started func(error), err error) {
	started = func(error) {}
	if s, err = o.hardware(ctx); err != nil || !o.keepsState(s) {
		return s, started, err
	}
	key, err := stateKey(s)
	if err != nil {
		return s, started, err
	}
	c, err := openCache(filepath.Dir(filepath.Dir(o.Images.DUT)), o.Progress)
	if err != nil {
		return s, started, err
	}
	const title = "a DUT that has booted, for others to go on from there"
	b := builder{ctx: ctx, cache: c, progress: o.Progress}
	dir := b.entry("booted", title, func(tmp *os.File, _ io.Writer) error { return o.keepState(ctx, s, tmp.Name()) }, key)
	if b.err != nil {
		c.close()
		return s, started, b.err
	}
	s.State = filepath.Join(dir, stateFile)
	s.Disks[0].Image, s.Disks[0].Format = filepath.Join(dir, overlayFile), "qcow2"
	return s, func(err error) {
		c.close()
		if err != nil && ctx.Err() == nil && !isUsage(err) {
			_ = c.remove(filepath.Base(dir)) // what is left of it fails again, and is said again
		}
	}, nil
}

// keepsState reports whether a DUT may go on from another one's state: what parameters and properties of its own have it
// do at its boot is to be seen. With KVM it boots fast, and its CPU is this machine's.
func (o Options) keepsState(s vm.Spec) bool {
	return o.Images.GPU.Real() && strings.HasPrefix(s.Accel, "tcg") && len(o.XeParams)+len(o.GPUProperties) == 0 && !o.Boot
}

// stateKey tells states apart that do not fit a DUT. What it shares and whether it may reboot are QEMU's affairs.
func stateKey(s vm.Spec) (string, error) {
	s.Shares, s.NoReboot = nil, false
	data, err := json.Marshal(s)
	return string(data), err
}

// keepState boots a DUT and leaves its state in dir. Its evidence is beside the DUT's, if that has a folder.
func (o Options) keepState(ctx context.Context, s vm.Spec, dir string) (err error) {
	scratch := filepath.Join(dir, "boot")
	logs := scratch
	if o.Dir != "" {
		logs = o.Dir + "-boot"
	}
	m, err := boot(ctx, s, logs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx)), os.RemoveAll(scratch)) }()
	if _, err := m.SaveState(ctx, filepath.Join(dir, stateFile)); err != nil {
		return err
	}
	return copyFile(filepath.Join(dir, overlayFile), m.Twin(s.Name).Disks[0].Image, 0o600)
}

// Starting says what starting a DUT with this hardware means.
func Starting(s vm.Spec) string {
	if s.State != "" {
		return "starting the DUT"
	}
	return "booting the DUT"
}
