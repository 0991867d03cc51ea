// Package xe provisions and controls the VFs of a GPU that the Linux xe driver runs, and looks at
// them in guests.
//
// [FindPF] finds the Physical Function. A [vgpu.Plan] says how its VFs divide the GPU.
// [PF.Provision] brings the PF to the plan from whatever state an earlier run left, [PF.EnableVFs]
// enables the VFs. The package's example shows all steps, from loading the driver to a VF that is
// ready for QEMU, and back.
//
// A [PF] has three parts: [Quotas] are what its VFs hold, [Scheduler] is how they share GPU time,
// and [PF.Control] pauses, resumes, stops, resets, saves and restores a VF without QEMU. What the
// driver reports of the PF is read piece by piece ([PF.AvailableGGTT], [PF.AdverseEvents], ...) or
// all at once ([PF.Summary]). [VF] is the other side: a VF as its own driver sees it, in a guest.
//
// # Where the kernel keeps things
//
// Quotas and spares are debugfs files, below sriov/ since Linux 6.19 and flat in each GT's
// directory before. Scheduling is in sysfs' sriov_admin since 6.19 and in debugfs before. The
// package looks for the files, never for a version, and errors for what is missing match
// [bench.ErrNotAvailable]. Since 6.19 the PF is in automatic or custom mode. Any number written to
// debugfs makes it custom: the kernel then gives enabled VFs nothing by itself and takes nothing
// back. restore_auto_provisioning makes it automatic; the kernel refuses that while VFs are
// enabled. The mode cannot be read.
//
// GGTT and VRAM belong to a tile, contexts and doorbells to each of its GTs, main and media.
//
// Kernel sources: drivers/gpu/drm/xe/xe_sriov_pf_{provision,sysfs,debugfs}.c,
// xe_gt_sriov_pf_{config,debugfs}.c.
package xe
