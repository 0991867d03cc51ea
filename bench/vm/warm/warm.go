package warm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/internal/cache"
	"vmtb/internal/filecopy"
	"vmtb/internal/progress"
)

// A Store keeps the states of machines that have booted, below Dir. Any number of processes may use
// it at a time.
type Store struct{ Dir string }

// Options of a machine that is to go on from a kept state.
type Options struct {
	VM   vm.Options    // of the machine, and of the one that boots first
	Boot time.Duration // limit of that boot; 0 is the machine's own, see [vm.VM.BootLimit]

	// Settle brings the machine that has booted to where others are to go on: see
	// [Options.AndLoad]. Key tells one Settle from another.
	Settle func(ctx context.Context, m *vm.VM) error
	Key    string

	// Progress shows the wait for another process that makes the same state. nil shows nothing.
	Progress *progress.Progress
	// Step shows that something takes a while, and does it. nil leaves that to Progress.
	Step func(ctx context.Context, title string, do func(context.Context) error) error
	// Warn tells that something did not go as it should, and was mended. nil tells nobody.
	Warn func(text string)
}

func (o Options) step(ctx context.Context, title string, do func(context.Context) error) error {
	if o.Step != nil {
		return o.Step(ctx, title, do)
	}
	return o.progress().Step(title, func(io.Writer) error { return do(ctx) })
}

func (o Options) progress() *progress.Progress {
	if o.Progress == nil {
		return progress.New(io.Discard, "", nil)
	}
	return o.Progress
}

// Unfit says why a machine cannot go on from a kept state, "" if it can.
func Unfit(s vm.Spec) string {
	for i, d := range s.Disks {
		if d.Access == vm.Direct {
			return fmt.Sprintf("the guest writes to disk%d itself, not to an overlay of it", i)
		}
	}
	return ""
}

// Start is [vm.Start] for a machine that goes on from a kept state, as [Store.Prepare] describes
// it. If it cannot, o.Warn is told why, the state is removed, and the machine boots.
func (st Store) Start(ctx context.Context, s vm.Spec, o Options) (*vm.VM, error) {
	spec, started, err := st.Prepare(ctx, s, o)
	if err != nil {
		return nil, err
	}
	m, err := vm.Start(ctx, spec, o.VM)
	started(err)
	if err == nil || spec.State == "" || ctx.Err() != nil || errors.As(err, new(*bench.UsageError)) {
		return m, err
	}
	if o.Warn != nil {
		o.Warn(
			fmt.Sprintf("%s boots: it cannot continue from the saved state of a booted machine: %v", s.Name, err),
		)
	}
	return vm.Start(ctx, s, o.VM)
}

// Prepare describes s as a machine that goes on from a kept state, which is made first if there is
// none that fits: a state of a machine with the same hardware, images, QEMU and host. One of which
// [Unfit] says why it cannot stays as it is.
//
// The files that the new description names stay until started is called, with the error of the
// start: QEMU has them open after a start that went well. After one that did not, the state is
// removed, unless ctx has ended or the error is misuse.
func (st Store) Prepare(ctx context.Context, s vm.Spec, o Options) (warm vm.Spec, started func(error), err error) {
	none := func(error) {}
	if s.State != "" || Unfit(s) != "" {
		return s, none, nil
	}
	if s.Accel == "" { // a process that starts the machine need not find it out again
		if s.Accel, err = st.accel(ctx, s); err != nil {
			return s, none, err
		}
	}
	key, err := keyOf(s, o)
	if err != nil {
		return s, none, err
	}
	c, err := cache.Open(st.Dir, o.progress())
	if err != nil {
		return s, none, err
	}
	const title = "boot a machine whose state others continue from"
	boot := func(dir *os.File) error {
		return o.step(ctx, title, func(ctx context.Context) error { return keep(ctx, s, o, dir.Name()) })
	}
	entry, err := c.Entry(ctx, "booted", key, title, boot)
	if err == nil && !whole(from(s, entry)) { // somebody has removed a part of it
		c.Close() // nothing in use is removed
		if err = c.Remove(filepath.Base(entry)); err == nil {
			entry, err = c.Entry(ctx, "booted", key, title, boot)
		}
	}
	if err != nil {
		c.Close()
		st.forgetKVM()
		return s, none, err
	}
	return from(s, entry), func(err error) {
		c.Close()
		if err != nil && ctx.Err() == nil && !errors.As(err, new(*bench.UsageError)) {
			_ = c.Remove(filepath.Base(entry)) // the next start would fail, too
			st.forgetKVM()
		}
	}, nil
}

const stateFile = "state"

func diskFile(n int) string { return fmt.Sprintf("disk%d.qcow2", n) }

// from is s as a machine that goes on from the state in dir.
func from(s vm.Spec, dir string) vm.Spec {
	s = shape(s)
	s.State = filepath.Join(dir, stateFile)
	for i, d := range s.Disks {
		if d.Access == vm.Overlay {
			s.Disks[i].Image, s.Disks[i].Format = filepath.Join(dir, diskFile(i)), "qcow2"
		}
	}
	return s
}

// whole reports whether the files are there from which s is to go on.
func whole(s vm.Spec) bool {
	paths := []string{s.State}
	for _, d := range s.Disks {
		paths = append(paths, d.Image)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

// shape is s with what all machines of the store have: a device by which Linux notices that it goes
// on from a state, and makes new random numbers (virt/vmgenid.c).
func shape(s vm.Spec) vm.Spec {
	s.Devices = append(slices.Clone(s.Devices), "vmgenid,guid=auto")
	s.Disks = slices.Clone(s.Disks)
	return s
}

// template is the machine that boots, and whose state is kept.
func template(s vm.Spec) vm.Spec {
	s = shape(s)
	s.Name = cmp.Or(s.Name, "booted") // one that is to be named later
	s.Unplugged, s.NoReboot = true, false
	s.VNC, s.SSH.Port = vm.VNC{}, 0 // two machines cannot have the same ports, and the guest does not see them
	return s
}

// keep boots a machine like s and leaves its state in dir.
func keep(ctx context.Context, s vm.Spec, o Options, dir string) (err error) {
	o.VM.Mode = vm.ModeRun
	if o.VM.Dir != "" {
		o.VM.Dir += "-booted"
	}
	m, err := vm.Start(ctx, template(s), o.VM)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	if err := m.WaitReadyWithin(ctx, cmp.Or(o.Boot, m.BootLimit())); err != nil {
		return err
	}
	if err := o.Settle(ctx, m); err != nil {
		return err
	}
	if _, err := m.StateFiles().Save(ctx, filepath.Join(dir, stateFile)); err != nil {
		return err
	}
	for i, d := range m.Twin(s.Name).Disks {
		if s.Disks[i].Access != vm.Overlay {
			continue
		}
		if err := filecopy.Copy(filepath.Join(dir, diskFile(i)), d.Image, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// AndLoad is o for machines whose guests have come to the end of their boot, and have loaded the
// kernel module of the VFs' driver, if they have it, when others go on from them.
func (o Options) AndLoad(driver string) Options {
	const script = `
if command -v systemctl >/dev/null; then systemctl is-system-running --wait; fi
modprobe "$1"
sync`
	o.Key = "load " + driver
	o.Settle = func(ctx context.Context, m *vm.VM) error {
		limited, cancel := context.WithTimeout(ctx, cmp.Or(o.Boot, m.BootLimit()))
		defer cancel()
		_, err := m.Exec(limited, bench.Command{Argv: []string{"/bin/sh", "-c", script, "sh", driver}})
		if err != nil && ctx.Err() == nil && limited.Err() != nil {
			err = &bench.GuestError{
				Machine: m.String(), Op: "boot", Err: fmt.Errorf("the guest has not finished its boot: %w", err),
			}
		}
		return err
	}
	return o
}
