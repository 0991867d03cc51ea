// Package vfio opens a PCI function that a VFIO driver has, as a machine's QEMU does, and drives its migration.
//
//	d, err := vfio.Open(group, "0000:03:00.1") // /dev/vfio/<group>
//	flags, err := d.MigrationFlags()
//	stream, err := d.SetState(vfio.StopCopy) // reading it saves the function
//
// It holds what the conformance suite of bench/xe/contract needs of the interface, which is that of
// the kernel's include/uapi/linux/vfio.h with groups and a type 1 container; no memory is mapped
// for the device. Errors match the kernel's [syscall.Errno] and name the device and what was asked.
package vfio
