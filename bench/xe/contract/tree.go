package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// thresholds are the thresholds of every kernel; 7.0 added multi_lrc_count.
var thresholds = []string{
	"cat_error_count", "engine_reset_count", "page_fault_count", "guc_time_us", "irq_time_us", "doorbell_time_us",
}

func thresholdFiles(dir string) []string { return under(dir+"threshold_", thresholds...) }

var (
	pfGTRead  = []string{"contexts_provisioned", "doorbells_provisioned", "runtime_registers", "adverse_events"}
	pfGTWrite = []string{
		"reset_engine", "sched_if_idle", "sample_period_ms", "doorbells_spare", "contexts_spare", "exec_quantum_ms",
		"preempt_timeout_us", "sched_priority",
	}
	vfGTWrite = []string{"doorbells_quota", "contexts_quota", "exec_quantum_ms", "preempt_timeout_us", "sched_priority"}
	vfOnce    = []string{"pause", "resume", "stop", "reset"}
	vfTwice   = []string{"save", "restore", "migration_data"}
)

var treeRules = []Rule{
	{
		ID: "nodes", Doc: "The PF's DRM nodes, the sysfs directories of its GTs and its directory in debugfs.",
		Steps: []Step{
			read("xe dev={PF} unique={PF}", "D/name"), present("P/tile0/gt0", "/sys/bus/pci/drivers/xe/{PF}"),
			absent("P/physfn", "P/tile0/gt"),
		},
		Check: checkNodes,
	},
	{
		ID: "sriov_info", Doc: "sriov_info of a PF.",
		Steps: []Step{read("supported: yes\nenabled: yes\nmode: SR-IOV PF", "D/sriov_info")},
	},
	{
		ID: "gt_links", Doc: "The GTs' own directories link into the sriov/ tree.", Needs: []Need{tree},
		Steps: []Step{
			link("tile0/gt0", "D/gt0"), link("../../sriov/pf/tile0/gt0", "D/tile0/gt0/pf"),
			link("../../sriov/vf1/tile0/gt0", "D/tile0/gt0/vf1"),
		},
	},
	{
		ID: "gt_links_media", Doc: "The second GT's own directories link into the sriov/ tree, too.",
		Needs: []Need{tree, twoGTs},
		Steps: []Step{
			link("tile0/gt1", "D/gt1"), link("../../sriov/pf/tile0/gt1", "D/tile0/gt1/pf"),
			link("../../sriov/vf1/tile0/gt1", "D/tile0/gt1/vf1"),
		},
	},
	{
		ID: "device_files", Doc: "Files of the whole device.", Needs: []Need{tree},
		Steps: []Step{
			mode(0o200, "D/sriov/restore_auto_provisioning"), mode(0o400, "D/sriov/lockdown_vfs_enabling"),
			mode(0o444, "D/sriov/pf/vfs", "D/sriov/pf/versions"), absent("D/pf"),
		},
	},
	{
		ID: "tile_files", Doc: "The files of GGTT belong to the tile.",
		Steps: []Step{
			mode(0o644, "T/pf/ggtt_spare", "T/vf1/ggtt_quota"),
			mode(0o444, "T/pf/ggtt_available", "T/pf/ggtt_provisioned"), absent("T/pf/ggtt_quota", "T/vf1/ggtt_spare"),
		},
	},
	{
		ID: "tile_files_vram", Doc: "The files of VRAM belong to the tile.", Needs: []Need{discrete},
		Steps: []Step{
			mode(0o644, "T/pf/vram_spare", "T/vf1/vram_quota"), mode(0o444, "T/pf/vram_provisioned"),
			absent("T/pf/vram_quota", "T/pf/vram_available"),
		},
	},
	{
		ID: "tile_files_integrated", Doc: "Integrated GPUs have no files of VRAM.", Needs: []Need{integrated},
		Steps: []Step{
			absent(
				"T/pf/vram_spare", "T/vf1/vram_quota", "T/pf/vram_provisioned", "G0/pf/lmem_spare", "G0/vf1/lmem_quota",
			),
		},
	},
	{
		ID: "gt_files", Doc: "The files of a function on each GT.",
		Steps: []Step{
			mode(0o444, under("G/pf/", pfGTRead...)...), mode(0o644, under("G/pf/", pfGTWrite...)...),
			mode(0o644, thresholdFiles("G/pf/")...),
			mode(0o644, under("G/vf1/", vfGTWrite...)...), mode(0o644, thresholdFiles("G/vf1/")...),
			mode(0o600, "G/vf1/control"),
			absent(under("G/vf1/", "contexts_spare", "reset_engine", "sched_if_idle", "adverse_events")...),
			absent("G/pf/contexts_quota", "G/pf/doorbells_quota", "G/pf/control"),
		},
	},
	{
		ID: "main_gt_links", Doc: "For old programs the main GT's directory has links to the tile's files.",
		Needs: []Need{tree},
		Steps: []Step{
			link("../ggtt_spare", "G0/pf/ggtt_spare"), link("../ggtt_available", "G0/pf/ggtt_available"),
			link("../ggtt_provisioned", "G0/pf/ggtt_provisioned"), link("../ggtt_quota", "G0/vf1/ggtt_quota"),
		},
	},
	{
		ID: "main_gt_links_vram", Doc: "In the main GT's directory the files of VRAM are called lmem.",
		Needs: []Need{tree, discrete},
		Steps: []Step{
			link("../vram_spare", "G0/pf/lmem_spare"), link("../vram_provisioned", "G0/pf/lmem_provisioned"),
			link("../vram_quota", "G0/vf1/lmem_quota"),
		},
	},
	{
		ID: "media_gt", Doc: "A media GT has none of the tile's files.", Needs: []Need{twoGTs},
		Steps: []Step{
			absent(
				under(
					"G1/pf/", "ggtt_spare", "ggtt_available", "ggtt_provisioned", "lmem_spare", "lmem_provisioned",
				)...,
			), absent("G1/vf1/ggtt_quota", "G1/vf1/lmem_quota"),
		},
	},
	{
		ID: "vf_operations", Doc: "The files that operate on a VF.", Needs: []Need{tree},
		Steps: []Step{
			mode(0o200, under("D/sriov/vf1/", vfOnce...)...), mode(0o600, under("D/sriov/vf1/", vfTwice...)...),
			mode(0o400, "D/sriov/vf1/migration_size"), absent(under("D/sriov/pf/", vfOnce...)...),
		},
	},
	{
		ID: "flat_files",
		Doc: "In the flat layout the GTs' directories have the real files, and there are no sriov_admin and no " +
			"operations on whole VFs.", Needs: []Need{flat},
		Steps: []Step{
			absent("D/sriov", "A/pf"), mode(0o444, "D/pf/vfs", "D/pf/versions"),
			mode(0o644, "D/gt0/pf/ggtt_spare", "D/gt0/vf1/ggtt_quota"),
			absent("D/gt0/pf/threshold_multi_lrc_count", "D/gt0/vf1/pause", "D/gt0/pf/restore_auto_provisioning"),
		},
	},
	{
		ID: "all_vfs", Doc: "VF directories exist for 1 to sriov_totalvfs, also while no VF is enabled.",
		Steps: []Step{absent("G0/vf{TOTAL+1}"), present("G0/vf{TOTAL}")}, Check: checkAllVFs,
	},
	{
		ID: "never_present", Doc: "Files of other drivers that xe never had.",
		Steps: []Step{
			absent(
				"P/iov", "P/provisioned", "P/auto_provisioning", "G/pf/contexts_available", "G/pf/doorbells_available",
				"G/pf/lmem_available", "G/pf/relay_version",
			),
		},
	},
	{
		ID: "debugfs_root",
		Doc: "debugfs lets root open all files: writing to a file without a write method is EINVAL, reading a file " +
			"without a read method returns nothing.",
		Steps: []Step{
			refuse(syscall.EINVAL, "T/pf/ggtt_available", "1"),
			refuse(syscall.EINVAL, "G/pf/contexts_provisioned", "1"),
		},
	},
	{
		ID: "debugfs_root_operations", Doc: "Reading files of mode 0200 returns nothing.", Needs: []Need{tree},
		Steps: []Step{read("", "D/sriov/restore_auto_provisioning"), read("", under("D/sriov/vf1/", vfOnce...)...)},
	},
	{
		ID: "defaults", Doc: "After the driver has started nothing is set.",
		Steps: []Step{
			read("0", "T/vf1/ggtt_quota"), read("0", under("G/vf1/", vfGTWrite...)...),
			read("0", thresholdFiles("G/vf1/")...),
			read("0", thresholdFiles("G/pf/")...),
			read(
				"0",
				under(
					"G/pf/", "reset_engine", "sched_if_idle", "sample_period_ms", "exec_quantum_ms",
					"preempt_timeout_us", "sched_priority",
				)...,
			),
		},
	},
	{
		ID: "default_spares", Doc: "After the driver has started spares are at their minima.", Needs: []Need{noFloor},
		Steps: []Step{
			read("67108864", "T/pf/ggtt_spare"), read("256", "G/pf/contexts_spare"), read("0", "G/pf/doorbells_spare"),
		},
	},
}

func checkNodes(_ context.Context, p *Probe) error {
	entries, err := p.sys.ReadDir(p.PF.Dir() + "/drm")
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, prefix := range []string{"card", "renderD"} {
		i := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, prefix) })
		if i < 0 {
			return fmt.Errorf("no %s<n> in P/drm: %v", prefix, names)
		}
		minor := strings.TrimPrefix(names[i], strings.TrimRight(names[i], "0123456789"))
		if target, err := p.sys.Readlink("/sys/kernel/debug/dri/" + minor); err != nil || target != string(p.PF) {
			return differs(err, "/sys/kernel/debug/dri/%s links to %q, want %s", minor, target, p.PF)
		}
	}
	return nil
}

func checkAllVFs(_ context.Context, p *Probe) error {
	for n := 1; n <= p.Total; n++ {
		for _, file := range []string{"T/vf%d/ggtt_quota", "G0/vf%d/contexts_quota", "G0/vf%d/control"} {
			if file = fmt.Sprintf(file, n); !p.exists(file) {
				return fmt.Errorf("there is no %s", file)
			}
		}
	}
	return nil
}
