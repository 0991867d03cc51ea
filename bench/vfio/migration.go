package vfio

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// A State is a value of enum vfio_device_mig_state (include/uapi/linux/vfio.h).
type State uint32

// These are the states of a device without PRE_COPY. The kernel goes from one to another by the
// shortest way:
//
//	Running ↔ RunningP2P ↔ Stop ↔ StopCopy (reading saves the device)
//	                       Stop ↔ Resuming (writing restores it)
//
// A failed step leads to Error. Only a reset leads out of it.
const (
	Error State = iota
	Stop
	Running
	StopCopy
	Resuming
	RunningP2P
	PreCopy
)

func (s State) String() string {
	names := []string{"ERROR", "STOP", "RUNNING", "STOP_COPY", "RESUMING", "RUNNING_P2P", "PRE_COPY"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint32(s))
}

// These are the flags of [Device.MigrationFlags]: VFIO_MIGRATION_*.
const (
	HasStopCopy = 1 << 0
	HasP2P      = 1 << 1
	HasPreCopy  = 1 << 2
)

// These are features of VFIO_DEVICE_FEATURE, and the requests for them.
const (
	featureMigration = 1 // u64 flags
	featureState     = 2 // u32 state, s32 file descriptor of the data
	featureDataSize  = 9 // u64 bytes

	featureGet = 1 << 16
	featureSet = 1 << 17
)

// feature requests a feature with a payload, which the kernel may change: struct
// vfio_device_feature.
func (d *Device) feature(what uint32, payload []byte) error {
	const head = 8
	b := make([]byte, head, head+len(payload))
	binary.NativeEndian.PutUint32(b, uint32(head+len(payload)))
	binary.NativeEndian.PutUint32(b[4:], what)
	b = append(b, payload...)
	_, err := ioctl(d.device, deviceFeature, b)
	copy(payload, b[head:])
	return err
}

// MigrationFlags returns HasStopCopy and so on. If the device cannot migrate, the error is ENOTTY.
func (d *Device) MigrationFlags() (uint64, error) {
	b := make([]byte, 8)
	err := d.feature(featureGet|featureMigration, b)
	return binary.NativeEndian.Uint64(b), d.wrap("get the migration flags", err)
}

// DataSize returns how many bytes saving the device may take.
func (d *Device) DataSize() (uint64, error) {
	b := make([]byte, 8)
	err := d.feature(featureGet|featureDataSize, b)
	return binary.NativeEndian.Uint64(b), d.wrap("get the size of the data", err)
}

// State returns the current state.
func (d *Device) State() (State, error) {
	b := make([]byte, 8)
	err := d.feature(featureGet|featureState, b)
	return State(binary.NativeEndian.Uint32(b)), d.wrap("get the migration state", err)
}

// SetState changes the state. For StopCopy and Resuming it returns the data to read or write, which
// the caller closes. For other states it returns nil.
func (d *Device) SetState(s State) (io.ReadWriteCloser, error) {
	b := binary.NativeEndian.AppendUint32(nil, uint32(s))
	b = append(b, 0xff, 0xff, 0xff, 0xff) // -1, no file
	if err := d.feature(featureSet|featureState, b); err != nil {
		return nil, d.wrap("set the migration state "+s.String(), err)
	}
	fd := int32(binary.NativeEndian.Uint32(b[4:]))
	if fd < 0 {
		return nil, nil //nolint:nilnil // these states have no data
	}
	return os.NewFile(uintptr(fd), d.name+" "+s.String()), nil
}
