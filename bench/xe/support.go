package xe

import (
	"fmt"
	"strings"
)

// whyNoVFs returns why a GPU offers no VFs. It judges by the files that exist.
func (p *PF) whyNoVFs() string {
	const board = "SR-IOV must be enabled in the firmware's set-up, and not every board has it"
	text := func(file string) string {
		s, _ := p.files.tree.Text(file) // an unreadable file is treated as empty
		return s
	}
	if limit := p.configfs("max_vfs"); p.files.tree.Exists(limit) && text(limit) == "0" {
		return limit + " is 0: unbind the driver, write unlimited to it, and bind the driver again"
	}
	_, supported, found := strings.Cut(text("/sys/kernel/debug/dri/"+string(p.Address)+"/sriov_info"), "supported:")
	if found && strings.HasPrefix(strings.TrimSpace(supported), "no") {
		return fmt.Sprintf(
			"the xe driver of this kernel (%s) has no SR-IOV for this GPU: Linux 6.17 or newer may have it, and "+
				"Intel's DKMS driver has it",
			text("/proc/sys/kernel/osrelease"),
		)
	}
	if text("/sys/module/xe/parameters/max_vfs") == "0" {
		return "the parameter xe.max_vfs is 0, which is the default before Linux 6.17: boot with xe.max_vfs=64, or " +
			"load a newer driver"
	}
	if !p.files.tree.Exists(p.Dir() + "/sriov_totalvfs") {
		return "the GPU has no SR-IOV capability: " + board
	}
	return board + "; xe.max_vfs and " + p.configfs("max_vfs") + " must not be 0"
}

// configfs returns the path of an SR-IOV setting of the GPU in configfs. It exists since Linux
// 6.19, if somebody made its directory before the driver was bound.
func (p *PF) configfs(name string) string {
	return "/sys/kernel/config/xe/" + string(p.Address) + "/sriov/" + name
}

// AdminOnly reports whether the PF only administers VFs: its render node accepts no work. An
// administrator sets this in configfs before the driver is bound (since Linux 7.1).
func (p *PF) AdminOnly() bool {
	text, err := p.files.tree.Text(p.configfs("admin_only_pf"))
	return err == nil && text == "yes"
}
