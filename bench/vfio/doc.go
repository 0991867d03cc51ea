// Package vfio opens a PCI function that a VFIO driver has bound, as a machine's QEMU does, and
// migrates it.
//
//	d, err := vfio.Open(group, "0000:03:00.1") // /dev/vfio/<group>
//	flags, err := d.MigrationFlags()
//	stream, err := d.SetState(vfio.StopCopy) // reading it saves the function
//
// It has only the parts of the interface that the conformance suite of bench/xe/contract needs. The
// interface is the kernel's include/uapi/linux/vfio.h with groups and a type 1 container. No memory
// is mapped for the device. Errors match the kernel's [syscall.Errno] and name the device and the
// request.
package vfio
