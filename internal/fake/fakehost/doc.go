// Package fakehost is a host with an SR-IOV GPU, in memory: the sysfs, debugfs, procfs and modules
// that packages host, pci and xe use, with the kernel's rules, so that they are tested in
// milliseconds and without root.
//
// [New] makes a host from [Options] ([BMG], [PTL]); the [Host] is a host.System. The rules are
// those of Linux 6.11 to 7.1: which value is refused with which errno, in which order checks are
// made (rules of sriov_numvfs, of driver_override and drivers_probe), how quotas are rounded and
// allocated, what automatic and custom provisioning do, and that sysfs holds its modes even against
// root. [Hooks.Hook] sees every write and can fail it. [Host.Snapshot] is the whole state, hidden
// parts included; two hosts are in the same state if their snapshots are equal, and [Host.Dump]
// makes a readable diff of two that are not. [Host.OpenVFIO] gives a VF to a process, with the
// migration of xe-vfio-pci.
//
// A Host has files, modules and processes. Its parts share one state: pciBus has the functions and
// their drivers, provisioner what VFs were given, attributes the files of that, controller and
// migration the VFs as the PF's driver operates on them.
//
// The rules are those of bench/xe/contract, whose tests check every one of them here.
//
// Kernel sources: drivers/pci/{iov,pci-driver,pci-sysfs}.c, drivers/gpu/drm/xe/xe_sriov_pf_*.c,
// xe_gt_sriov_pf_*.c.
package fakehost
