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

// A bed is what the cases of a class share: what one has saved, the next one restores.
type bed struct {
	*fixture.Setup
	scenario
	saved   *work.Run // what ran when the machine was saved; nil before that
	unsaved error     // why there is no state of it, as has to be
}

// tag names the snapshot that cases share.
const tag = "vmtb"

// vm is the machine that there is now.
func (b *bed) vm() *vm.VM { return b.VMs[0] }

// save saves the machine as it is. One that cannot be saved here, for a reason that QEMU tells, skips the case.
func (b *bed) save(ctx context.Context, t *flow.T, tag string) error {
	err := b.vm().Snapshots().Save(ctx, tag)
	if errors.As(err, new(*vm.BlockedError)) {
		fixture.Require(t, err)
	}
	return err
}

// target is where the state is restored: the same machine, or one on the second VF that has the
// first one's disk, which is off.
func (b *bed) target(ctx context.Context) error {
	if !b.two() {
		return nil
	}
	return b.takeOver(ctx, func(spec *vm.Spec) {})
}

// takeOver puts a machine on the second VF, with the disk of the first, which is off, in its place.
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

// goOn restores the state, and lets the machine go on from there.
func (b *bed) goOn(ctx context.Context, tag string) error {
	m := b.vm()
	if err := m.Snapshots().Load(ctx, tag); err != nil {
		return err
	}
	return resume(ctx, m)
}

// resume lets a machine run that may do so already.
func resume(ctx context.Context, m *vm.VM) error {
	state, err := m.State(ctx)
	if err != nil || state == vm.Running {
		return err
	}
	return m.Power().Resume(ctx)
}

// off shuts the machine down when another one is to go on as it.
func (b *bed) off(ctx context.Context) error {
	if !b.two() {
		return nil
	}
	_, err := b.vm().Power().Off(ctx)
	return err
}

// drivers is an error unless the host has its driver, and the machine its one on its VF.
func (b *bed) drivers(ctx context.Context) error {
	loaded, err := fixture.Loaded(ctx, b.Host, b.Bench.Host.Driver)
	if err == nil && !loaded {
		err = fmt.Errorf("the host has lost its driver %s", b.Bench.Host.Driver)
	}
	if err != nil {
		return err
	}
	return xe.CheckDriver(ctx, b.vm(), b.GuestDriver)
}
