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

// Spec is the DUT's hardware and the state from which it goes on, which is made if it is not there
// yet. started is to be called with the error of the start: see [warm.Store.Prepare].
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

// keepsState reports whether a DUT may go on from another one's state: what parameters and
// properties of its own have it do at its boot is to be seen. With KVM it boots fast, and its CPU
// is this machine's.
func (o Options) keepsState(s vm.Spec) bool {
	return o.Images.GPU.Real() && strings.HasPrefix(s.Accel, "tcg") && len(o.XeParams)+len(o.GPUProperties) == 0 &&
		!o.Boot
}

// settle has a DUT boot a guest for those of --warm to go on from: see "vmtb vm warm".
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
	if err == nil && code != 0 {
		err = infra("boot a guest in the DUT", errors.New(bench.Tail(said.Bytes(), 5)))
	}
	if err != nil {
		return err
	}
	// What is mounted cannot be saved; the next command removes the program that ran.
	return d.run(ctx, `umount "$1"; rm -f /run/vmtb-bin*`, d.share)
}

// guestShape changes with what vmtb makes of a guest in the lab: DUTs with states of other guests are of no use then.
func guestShape() string {
	guest := vm.Spec{
		Name: "guest", MemoryMiB: GuestMiB, Disks: []vm.Disk{{Image: GuestImage, Format: "raw"}},
		VFs: []vm.VF{{WindowMiB: 1}},
	}
	return warm.Hardware(guest, "kvm")
}

// Starting says what starting a DUT with this hardware means.
func Starting(s vm.Spec) string {
	if s.State != "" {
		return "starting the DUT"
	}
	return "booting the DUT"
}
