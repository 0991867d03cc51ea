package fakehost

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"vmtb/bench/vfio"
)

// VFIO is a function that a process has opened through a VFIO driver, with the migration of
// xe-vfio-pci. It is not part of a snapshot.
type VFIO struct {
	h     *Host
	vf    int
	state vfio.State
	data  *vfioData // nil in a state without data
}

// OpenVFIO opens a function by its IOMMU group and address. As the kernel does, it resets the
// function.
func (h *Host) OpenVFIO(group int, address string) (*VFIO, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	vf := h.function(address)
	switch {
	case vf < 1 || len(h.vfioNodes(vf)) == 0:
		return nil, fmt.Errorf("open group %d: %w", group, syscall.ENOENT)
	case h.group(vf) != group:
		return nil, fmt.Errorf("%s is not in group %d: %w", address, group, syscall.ENODEV)
	case h.opened[vf] != nil:
		return nil, fmt.Errorf("open group %d: %w", group, syscall.EBUSY)
	}
	_ = h.ctl.reset(vf) // the kernel opens it all the same
	v := &VFIO{h: h, vf: vf, state: vfio.Running}
	if h.opened == nil {
		h.opened = map[int]*VFIO{}
	}
	h.opened[vf] = v
	return v, nil
}

// Close closes the function, and resets it.
func (v *VFIO) Close() error {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	_ = v.h.ctl.reset(v.vf) // close cannot return the error
	delete(v.h.opened, v.vf)
	return nil
}

// Reset does an FLR.
func (v *VFIO) Reset() error {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	return v.h.ctl.reset(v.vf)
}

// wasReset ends the migration, as an FLR does.
func (v *VFIO) wasReset() {
	v.state = vfio.Running
	v.drop()
}

func (v *VFIO) drop() {
	if v.data != nil {
		v.data.dead = true
		v.data = nil
	}
}

// migrates returns ENOTTY for a device without migration.
func (v *VFIO) migrates() error {
	if v.h.o.NoMigration || v.h.o.Flat || !strings.HasPrefix(v.h.s.Functions[v.vf].Driver, "xe-") {
		return syscall.ENOTTY
	}
	return nil
}

// MigrationFlags returns the flags STOP_COPY and P2P.
func (v *VFIO) MigrationFlags() (uint64, error) {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	return vfio.HasStopCopy | vfio.HasP2P, v.migrates()
}

// DataSize returns the size of the stream.
func (v *VFIO) DataSize() (uint64, error) {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	return uint64(len(v.h.migration.stream(v.vf))), v.migrates()
}

// State returns the current state.
func (v *VFIO) State() (vfio.State, error) {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	return v.state, v.migrates()
}

// register is the offset of VF_SW_FLAG, a register that only the VF's driver uses.
const register = 0x190240

// Register reads the register that only the VF's driver uses.
func (v *VFIO) Register(offset int64) (uint32, error) {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	if offset != register {
		return 0, syscall.EINVAL
	}
	return v.h.s.Functions[v.vf].Register, nil
}

// SetRegister writes the register that only the VF's driver uses.
func (v *VFIO) SetRegister(offset int64, value uint32) error {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	if offset != register {
		return syscall.EINVAL
	}
	v.h.s.Functions[v.vf].Register = value
	return nil
}

// SetState changes the state by the steps of vfio_mig_get_next_state (drivers/vfio/vfio_main.c). A
// step that fails leaves the state unchanged: the driver has no state ERROR.
func (v *VFIO) SetState(to vfio.State) (io.ReadWriteCloser, error) {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	if err := v.migrates(); err != nil {
		return nil, err
	}
	if v.state == vfio.Error || to == vfio.Error || to > vfio.RunningP2P {
		_ = v.h.ctl.everyGT(v.vf, stopVF) // xe_sriov_vfio_error; it may be stopped already
		return nil, syscall.EINVAL
	}
	for v.state != to {
		next := towards(v.state, to)
		if err := v.step(next); err != nil {
			v.drop()
			return nil, err
		}
		v.state = next
	}
	if v.data == nil {
		return nil, nil //nolint:nilnil // like the real one
	}
	return v.data, nil
}

// chain has the states without data. The states with data follow its end.
var chain = []vfio.State{vfio.Running, vfio.RunningP2P, vfio.Stop}

func towards(from, to vfio.State) vfio.State {
	i, j := slices.Index(chain, from), slices.Index(chain, to)
	switch {
	case i < 0:
		return vfio.Stop
	case j < 0 && from == vfio.Stop:
		return to
	case j < 0 || j > i:
		return chain[i+1]
	}
	return chain[i-1]
}

func (v *VFIO) step(to vfio.State) error {
	h, from := v.h, v.state
	switch {
	case from == vfio.Running:
		return h.ctl.everyGT(v.vf, pauseVF)
	case to == vfio.Running:
		return h.ctl.everyGT(v.vf, resumeVF)
	case from == vfio.StopCopy:
		v.drop()
		return h.ctl.firstOf(v.vf, finishSave)
	case from == vfio.Resuming:
		v.drop()
		return h.ctl.firstOf(v.vf, finishRestore)
	case to == vfio.StopCopy:
		v.data = &vfioData{file: dataFile{h.migration, v.vf}}
		return h.migration.startSave(v.vf)
	case to == vfio.Resuming:
		v.data = &vfioData{file: dataFile{h.migration, v.vf}}
		return h.migration.startRestore(v.vf)
	}
	return nil
}

// vfioData is the file of a state with data. It is migration_data until the state changes.
type vfioData struct {
	file dataFile
	dead bool
}

func (d *vfioData) Close() error { return nil }

func (d *vfioData) Read(p []byte) (int, error) {
	if d.isDead() {
		return 0, syscall.ENODEV
	}
	return d.file.Read(p)
}

func (d *vfioData) Write(p []byte) (int, error) {
	if d.isDead() {
		return 0, syscall.ENODEV
	}
	return d.file.Write(p)
}

func (d *vfioData) isDead() bool {
	d.file.m.mu.Lock()
	defer d.file.m.mu.Unlock()
	return d.dead
}
