package xe

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"vmtb/bench"
	"vmtb/bench/xe/vgpu"
)

// notEnabled adds the reason why VFs could not be enabled to an error.
func (p *PF) notEnabled(err error) error {
	he, ok := errors.AsType[*bench.HostError](err)
	if ok && errors.Is(err, syscall.EPERM) {
		he.Advice = p.locked()
	}
	return err
}

// locked returns the advice for an EPERM, which has several possible causes.
func (p *PF) locked() string {
	var causes []string
	if text, err := p.files.tree.Text(p.Dir() + "/enable_eudebug"); err == nil && text == "1" {
		causes = append(causes, "the EU debugger is enabled: echo 0 > "+p.Dir()+"/enable_eudebug")
	}
	for _, gt := range p.GTs {
		file := fmt.Sprintf("%s/tile%d/gt%d/ccs_mode", p.Dir(), gt.Tile, gt.ID)
		if n, err := p.files.tree.Uint(file); err == nil && n > 1 {
			causes = append(causes, "a compute mode other than the default prevents VFs: echo 1 > "+file)
		}
	}
	if len(causes) > 0 {
		return strings.Join(causes, "; ")
	}
	return "only root may do this, and only while no process has lockdown_vfs_enabling in the PF's debugfs open"
}

// missingQuota returns the advice for an enabled VF that lacks resources.
func (p *PF) missingQuota(q vgpu.Resources) string {
	if q.Contexts > 0 && q.GGTT > 0 && p.files.tree.Exists(p.files.bulkFile("vram_quota")) {
		return "another VF was given local memory through sysfs, so the driver gives none automatically: " +
			"echo 0 > " + p.files.bulkFile("vram_quota") + ", and enable VFs again"
	}
	return "the PF is in custom mode and quotas are missing: provision it first"
}
