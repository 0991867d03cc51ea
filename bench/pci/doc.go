// Package pci handles PCI devices through sysfs: addresses, drivers, IOMMU groups, reset, and
// SR-IOV.
//
// A [Device] is a directory in /sys/bus/pci/devices; [At] makes one from an [Address]. Methods that
// change the host ([Device.EnableVFs], [Device.SetAutoprobe], [Device.Bind]) record the change in
// the tree's undo log first. They also check that the change took effect: the kernel's
// drivers_probe, for example, succeeds even if no driver was bound.
//
// VFs are numbered from 1, as in the drivers and their debugfs. The virtfn links in sysfs are
// numbered from 0.
//
// Kernel sources: drivers/pci/iov.c, drivers/pci/pci-sysfs.c,
// Documentation/ABI/testing/sysfs-bus-pci.
package pci
