// Package fakehost is a host with an SR-IOV GPU, in memory. It has the sysfs, debugfs, procfs and
// modules that packages host, pci and xe use, with the kernel's rules. So these packages are tested
// in milliseconds and without root.
//
// [New] makes a host from [Options] ([BMG], [PTL]); the [Host] is a host.System. The rules are
// those of Linux 6.11 to 7.1:
//
//   - the errno for each refused value, and the order of checks (rules of sriov_numvfs, of
//     driver_override and drivers_probe);
//   - the rounding and allocation of quotas;
//   - automatic and custom provisioning;
//   - the modes of sysfs, which the host enforces even against root.
//
// [Hooks.Hook] sees every write and can fail it. [Host.Snapshot] is the whole state, including
// hidden parts. Two hosts are in the same state if their snapshots are equal; otherwise [Host.Dump]
// gives a readable diff. [Host.OpenVFIO] gives a VF to a process, with the migration of
// xe-vfio-pci.
//
// A Host has files, modules and processes. Its parts share one state. pciBus has the functions and
// their drivers. provisioner has the resources of VFs, and attributes has the files for these.
// controller and migration are the PF driver's operations on VFs.
//
// The rules are those of bench/xe/contract, whose tests check every one of them here.
//
// Kernel sources: drivers/pci/{iov,pci-driver,pci-sysfs}.c, drivers/gpu/drm/xe/xe_sriov_pf_*.c,
// xe_gt_sriov_pf_*.c.
package fakehost
