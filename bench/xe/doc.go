// Package xe provisions and controls the VFs of a GPU that the Linux xe driver runs, and reads
// their state in guests.
//
// [FindPF] finds the Physical Function. A [vgpu.Plan] says how its VFs divide the GPU.
// [PF.Provision] brings the PF to the plan from whatever state an earlier run left, and
// [PF.EnableVFs] enables the VFs. The package's example shows all steps, from loading the driver to
// a VF that is ready for QEMU, and back.
//
// A [PF] has three parts. [Quotas] are the resources of its VFs. [Scheduler] divides GPU time.
// [PF.Control] pauses, resumes, stops, resets, saves and restores a VF without QEMU. The driver's
// reports about the PF are read piece by piece ([PF.AvailableGGTT], [PF.AdverseEvents], ...) or all
// at once ([PF.Summary]). [VF] is a VF as its own driver in a guest sees it.
//
// # Files of the kernel
//
// Quotas and spares are debugfs files: below sriov/ since Linux 6.19, in each GT's directory
// before. Scheduling is in sysfs' sriov_admin since 6.19, in debugfs before. The package looks for
// the files, never for a version. Errors for missing files match [bench.ErrNotAvailable].
//
// Since 6.19 the PF is in automatic or custom mode. Any number written to debugfs makes the mode
// custom: the kernel then gives enabled VFs nothing by itself and takes nothing back.
// restore_auto_provisioning makes the mode automatic. The kernel refuses that while VFs are
// enabled. The mode cannot be read.
//
// GGTT and VRAM belong to a tile. Contexts and doorbells belong to each of its GTs, main and media.
//
// Kernel sources: drivers/gpu/drm/xe/xe_sriov_pf_{provision,sysfs,debugfs}.c,
// xe_gt_sriov_pf_{config,debugfs}.c.
package xe
