package migration

import (
	"context"
	"errors"
	"fmt"

	"vmtb/bench/vm"
	"vmtb/bench/work"
	"vmtb/bench/xe"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

// A bed is the value that the cases of a class share. One case saves a machine, and the next one
// restores it.
type bed struct {
	*fixture.Setup
	scenario
	saved   *work.Run // workload of the saved machine; nil before the save
	unsaved error     // why saving failed, if the scenario expects a failure
}

// tag is the name of the snapshot that the cases share.
const tag = "vmtb"

// vm returns the current machine.
func (b *bed) vm() *vm.VM { return b.VMs[0] }

// save saves the state of the machine. If QEMU gives a reason why that is impossible here, save skips
// the case.
func (b *bed) save(ctx context.Context, t *flow.T, tag string) error {
	err := b.vm().Snapshots().Save(ctx, tag)
	if errors.As(err, new(*vm.BlockedError)) {
		fixture.Require(t, err)
	}
	return err
}

// target prepares the machine for the restore. With one VF it is the saved machine. With two VFs it
// is a new machine on the second VF, with the disk of the saved machine, which is off.
func (b *bed) target(ctx context.Context) error {
	if !b.two() {
		return nil
	}
	return b.takeOver(ctx, func(spec *vm.Spec) {})
}

// takeOver starts a new machine on the second VF in place of the first machine, which is off. The
// new machine uses the disk of the first one.
func (b *bed) takeOver(ctx context.Context, change func(*vm.Spec)) error {
	if err := b.BindSpare(ctx, 1); err != nil {
		return err
	}
	vf, err := b.Assignable(1)
	if err != nil {
		return err
	}
	spec := b.vm().Twin("vm1", vf)
	change(&spec)
	m, err := b.Start(ctx, spec, vm.ModePaused)
	if err == nil {
		b.VMs = []*vm.VM{m}
	}
	return err
}

// goOn loads the snapshot and resumes the machine.
func (b *bed) goOn(ctx context.Context, tag string) error {
	m := b.vm()
	if err := m.Snapshots().Load(ctx, tag); err != nil {
		return err
	}
	return resume(ctx, m)
}

// resume resumes the machine unless it is running.
func resume(ctx context.Context, m *vm.VM) error {
	state, err := m.State(ctx)
	if err != nil || state == vm.Running {
		return err
	}
	return m.Power().Resume(ctx)
}

// off shuts the machine down if another machine will take its place.
func (b *bed) off(ctx context.Context) error {
	if !b.two() {
		return nil
	}
	_, err := b.vm().Power().Off(ctx)
	return err
}

// drivers returns an error unless the host driver is loaded and the guest driver is bound to its
// VF.
func (b *bed) drivers(ctx context.Context) error {
	loaded, err := fixture.Loaded(ctx, b.Host, b.Bench.Host.Driver)
	if err == nil && !loaded {
		err = fmt.Errorf("the driver %s on the host is no longer loaded", b.Bench.Host.Driver)
	}
	if err != nil {
		return err
	}
	return xe.CheckDriver(ctx, b.vm(), b.GuestDriver)
}
