package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/xe"
	"vmtb/internal/pick"
)

const needVFKernel = "install a kernel of Linux 6.17 or newer in the image (Debian 13 has one in its backports), or " +
	"make one with vmtb image build"

// checkGuestDriver checks the guest's kernel version, and that its driver supports VFs of this
// machine's GPU.
func checkGuestDriver(ctx context.Context, t *Target, m bench.Machine) Result {
	driver := t.Config.Guest.Driver
	kernel := firstLine(ctx, m, "uname", "-r")
	if kernel == "" {
		kernel = "its kernel"
	} else {
		kernel = "kernel " + kernel
	}
	r, err := m.Exec(ctx, bench.Command{Argv: []string{"modinfo", driver}})
	if err != nil {
		return fromError(err)
	}
	if !r.OK() {
		return bad(needVFKernel, "%s has no driver %s", kernel, driver)
	}
	info := parseModinfo(string(r.Stdout))
	if driver != "xe" {
		return good("%s has %s", kernel, driver)
	}
	if !info.drivesVFs() {
		return bad(needVFKernel, "%s: its xe does not support VFs, which needs Linux 6.17", kernel)
	}
	ids, ok := t.gpuIDs()
	switch {
	case !ok:
		return good("%s, and its xe supports VFs", kernel)
	case !info.knows(ids):
		return bad(
			"install a newer kernel in the image", "%s: its xe does not know this machine's GPU, %s", kernel, ids,
		)
	}
	return good("%s, and its xe supports VFs of this machine's GPU, %s", kernel, ids)
}

// An executor runs programs: this machine, or a guest.
type executor interface {
	Exec(ctx context.Context, c bench.Command) (bench.Result, error)
}

// firstLine returns the first line that a program prints on m, or "" if it fails.
func firstLine(ctx context.Context, m executor, argv ...string) string {
	r, err := m.Exec(ctx, bench.Command{Argv: argv})
	if err != nil || !r.OK() {
		return ""
	}
	line, _, _ := strings.Cut(string(r.Stdout), "\n")
	return strings.TrimSpace(line)
}

// gpuIDs returns the PCI IDs of the PF for flows. ok is false if this machine has none.
func (t *Target) gpuIDs() (ids pci.IDs, ok bool) {
	pf := t.pf
	if pf == nil {
		var err error
		if pf, err = xe.FindPF(t.host.Tree(nil), pick.GPU(t.Config.Host)); err != nil {
			return ids, false
		}
	}
	ids, err := pf.IDs()
	return ids, err == nil
}

// modinfo is the used part of modinfo's output about a module.
type modinfo struct {
	aliases []string // "pci:v00008086d0000E20Bsv*sd*bc03sc*i*"
	maxVFs  string   // description of the parameter max_vfs, or ""
}

func parseModinfo(text string) (m modinfo) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "alias":
			m.aliases = append(m.aliases, value)
		case "parm":
			if text, ok := strings.CutPrefix(value, "max_vfs:"); ok {
				m.maxVFs = text
			}
		}
	}
	return m
}

// drivesVFs reports whether the module can drive VFs. Up to Linux 6.16 no platform of xe has
// SR-IOV, and xe takes a VF for a whole GPU. The description of max_vfs shows the difference: its
// default is 0 up to there, and unlimited in later versions (xe_module.c). This also holds for the
// backports of Intel and of distributions. For a module without the parameter, drivesVFs returns
// true.
func (m modinfo) drivesVFs() bool {
	return m.maxVFs == "" || strings.Contains(m.maxVFs, "unlimited")
}

// knows reports whether the module supports the device. A VF has the device ID of its PF.
func (m modinfo) knows(ids pci.IDs) bool {
	prefix := fmt.Sprintf("pci:v%08Xd%08Xsv", ids.Vendor, ids.Device)
	return len(m.aliases) == 0 || slices.ContainsFunc(
		m.aliases, func(alias string) bool { return strings.HasPrefix(alias, prefix) },
	)
}
