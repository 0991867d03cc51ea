package vfio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These are requests of ioctl(2): _IO(';', 100 + n) in include/uapi/linux/vfio.h.
const (
	setIOMMU          = 0x3b66
	groupSetContainer = 0x3b68
	groupGetDeviceFD  = 0x3b6a
	deviceRegionInfo  = 0x3b6c
	deviceReset       = 0x3b6f
	deviceFeature     = 0x3b75

	type1IOMMU = 1 // VFIO_TYPE1_IOMMU
	bar0       = 0 // VFIO_PCI_BAR0_REGION_INDEX
)

// A Device is an open function. While it is open, its VF cannot be disabled: the kernel waits for
// Close.
type Device struct {
	name                     string
	container, group, device *os.File
	bar0                     int64 // offset of BAR 0 in device
}

// Open opens a group and the function in it with the address name. The kernel resets the function.
// If the group is in use, the error is EBUSY.
func Open(group int, name string) (_ *Device, err error) {
	d := &Device{name: name}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("VFIO: open %s of group %d: %w", name, group, err), d.Close())
		}
	}()
	if d.container, err = os.OpenFile("/dev/vfio/vfio", os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if d.group, err = os.OpenFile("/dev/vfio/"+strconv.Itoa(group), os.O_RDWR, 0); err != nil {
		return nil, err
	}
	container := binary.NativeEndian.AppendUint32(nil, uint32(d.container.Fd()))
	if _, err := ioctl(d.group, groupSetContainer, container); err != nil {
		return nil, fmt.Errorf("set container: %w", err)
	}
	if err := unix.IoctlSetInt(int(d.container.Fd()), setIOMMU, type1IOMMU); err != nil {
		return nil, fmt.Errorf("set IOMMU: %w", err)
	}
	fd, err := ioctl(d.group, groupGetDeviceFD, append([]byte(name), 0))
	if err != nil {
		return nil, fmt.Errorf("get device: %w", err)
	}
	d.device = os.NewFile(uintptr(fd), name)
	d.bar0, err = d.region(bar0)
	return d, err
}

// Close closes the function. The kernel resets it.
func (d *Device) Close() error {
	var errs []error
	for _, f := range []*os.File{d.device, d.group, d.container} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// region returns the offset of a region in the device's file: struct vfio_region_info.
func (d *Device) region(index uint32) (int64, error) {
	info := make([]byte, 32)
	binary.NativeEndian.PutUint32(info, uint32(len(info)))
	binary.NativeEndian.PutUint32(info[8:], index)
	if _, err := ioctl(d.device, deviceRegionInfo, info); err != nil {
		return 0, fmt.Errorf("region %d: %w", index, err)
	}
	return int64(binary.NativeEndian.Uint64(info[24:])), nil
}

// Reset does a Function Level Reset.
func (d *Device) Reset() error {
	return d.wrap("reset", unix.IoctlSetInt(int(d.device.Fd()), deviceReset, 0))
}

// Register reads 32 bits of BAR 0.
func (d *Device) Register(offset int64) (uint32, error) {
	var b [4]byte
	_, err := d.device.ReadAt(b[:], d.bar0+offset)
	return binary.LittleEndian.Uint32(b[:]), d.wrap("read a register", err)
}

// SetRegister writes 32 bits of BAR 0.
func (d *Device) SetRegister(offset int64, value uint32) error {
	_, err := d.device.WriteAt(binary.LittleEndian.AppendUint32(nil, value), d.bar0+offset)
	return d.wrap("write a register", err)
}

func (d *Device) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("VFIO: %s: %s: %w", d.name, op, err)
}

// ioctl passes a structure, which the kernel may change, and returns the kernel's result.
func ioctl(f *os.File, request uintptr, data []byte) (int, error) {
	//nolint:gosec // no other way: x/sys has no ioctl with a structure of the caller's
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&data[0])))
	runtime.KeepAlive(f)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
