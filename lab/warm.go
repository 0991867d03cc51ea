package lab

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/bench/vm/warm"
)

// Spec returns the DUT's hardware and the saved state from which it starts. It makes the state if
// it does not exist. The caller calls started with the error of the start: see
// [warm.Store.Prepare].
func (o Options) Spec(ctx context.Context) (s vm.Spec, started func(error), err error) {
	started = func(error) {}
	if s, err = o.hardware(ctx); err != nil || !o.keepsState(s) {
		return s, started, err
	}
	speed, err := MeasuredSpeed()
	if err != nil {
		return s, started, err
	}
	kept := warm.Options{
		VM: vm.Options{Dir: o.Dir}, Boot: speed.BootLimit(), Settle: o.settle, Key: guestShape(), Progress: o.Progress,
	}
	return warm.Store{Dir: filepath.Dir(filepath.Dir(o.Images.DUT))}.Prepare(ctx, s, kept)
}

// keepsState reports whether a DUT may start from the saved state of another one. With its own
// parameters or properties it must boot, because their effects at boot are of interest. With KVM it
// boots fast, and its CPU is this machine's. The state's key has the images, the kernels in them, and
// the command line.
func (o Options) keepsState(s vm.Spec) bool {
	special := len(o.GPUProperties) + len(o.Cmdline)
	return strings.HasPrefix(s.Accel, "tcg") && special == 0 && !o.Boot
}

// settle makes a DUT boot a guest, from whose state the guests of --warm start: see "vmtb vm warm".
func (o Options) settle(ctx context.Context, m *vm.VM) error {
	speed, err := MeasuredSpeed()
	if err != nil {
		return err
	}
	d := o.dut(m)
	if err := d.wake(ctx); err != nil {
		return err
	}
	var said bytes.Buffer
	scale := strconv.FormatFloat(speed.TimeoutScale(), 'g', -1, 64)
	code, err := d.Vmtb(ctx, []string{
		"vm", "warm", "--vm-image", GuestImage, "--vm-memory", strconv.Itoa(GuestMiB), "--timeout-scale", scale,
	}, &said)
	if err == nil && code != 0 && ctx.Err() != nil {
		err = ctx.Err() // the interrupt has ended it
	}
	if err == nil && code != 0 {
		err = infra("boot a guest in the DUT", errors.New(bench.Tail(said.Bytes(), 5)))
	}
	if err != nil {
		return err
	}
	// Mounts cannot be saved. The next command removes the program that ran.
	return d.run(ctx, `umount "$1"; rm -f /run/vmtb-bin*`, d.share)
}

// guestShape changes with vmtb's settings for a guest in the lab. Then saved states of DUTs with
// older guests are of no use.
func guestShape() string {
	guest := vm.Spec{
		Name: "guest", MemoryMiB: GuestMiB, Disks: []vm.Disk{{Image: GuestImage, Format: "raw"}},
		VFs: []vm.VF{{WindowMiB: 1}},
	}
	return warm.Hardware(guest, "kvm")
}

// Starting describes the start of a DUT with this hardware.
func Starting(s vm.Spec) string {
	if s.State != "" {
		return "starting the DUT"
	}
	return "booting the DUT"
}
