package contract

import (
	"context"
	"path"
	"strings"
	"syscall"
)

const (
	override   = "V1/driver_override"
	vfioDriver = "xe-vfio-pci"
	bindVFIO   = "/sys/bus/pci/drivers/xe-vfio-pci/bind"
	unbindVFIO = "/sys/bus/pci/drivers/xe-vfio-pci/unbind"
	noDevice   = "0000:ff:1f.7"
)

var bindingRules = []Rule{
	{
		ID:  "override_text",
		Doc: "driver_override is cut at the first newline; an empty rest clears it. A whole page is too long.",
		Steps: []Step{
			write(numvfs, "1"), read("(null)", override), become(override, "xe", "xe", "xe\n", "xe\nvfio-pci\n"),
			become(override, "(null)", "\n"), become(override, "x y", "x y"), become(override, "(null)", "\nxe"),
			refuse(syscall.EINVAL, override, strings.Repeat("x", 4095)), write(override, strings.Repeat("x", 4094)),
			write(override, "\n"),
		},
	},
	{
		ID: "probe_unknown", Doc: "drivers_probe, bind and unbind refuse a device that does not exist: ENODEV.",
		Steps: []Step{
			refuse(syscall.ENODEV, probeDriver, noDevice, noDevice+"\n", "x", "\n"),
			refuse(syscall.ENODEV, bindXe, noDevice), refuse(syscall.ENODEV, unbindXe, noDevice),
		},
	},
	{
		ID: "bind_bound",
		Doc: "A bound device cannot be bound: EBUSY. A device that is not bound to the driver cannot be unbound from " +
			"it: ENODEV.",
		Steps: []Step{
			write(numvfs, "1"), refuse(syscall.EBUSY, bindXe, "{PF}"), refuse(syscall.ENODEV, unbindXe, "{VF1}"),
		},
	},
	{
		ID:  "autoprobe_on",
		Doc: "With driver probing, xe binds VFs on the host; they get a card and are listed among xe's devices.",
		Steps: []Step{
			write(autoprobe, "1"), write(numvfs, "1"), present("/sys/bus/pci/drivers/xe/{VF1}", "V1/drm"),
			write(autoprobe, "0"), present("V1/driver"), write(unbindXe, "{VF1}"), absent("V1/driver"),
		},
	},
	{
		ID: "autoprobe_off",
		Doc: "Without driver probing, a VF without override is refused by every driver: by drivers_probe silently, " +
			"by bind with ENODEV.",
		Steps: []Step{
			write(numvfs, "1"), absent("V1/driver"), write(probeDriver, "{VF1}"), absent("V1/driver"),
			refuse(syscall.ENODEV, bindXe, "{VF1}"), absent("V1/driver"), write(override, "xe"), write(bindXe, "{VF1}"),
			present("/sys/bus/pci/drivers/xe/{VF1}"),
		},
	},
	{
		ID: "override_only",
		Doc: "While an override is set only that driver can bind; drivers_probe succeeds even if that driver does " +
			"not exist.",
		Steps: []Step{
			write(autoprobe, "1"), write(numvfs, "1"), write(unbindXe, "{VF1}"), write(override, "no-such-driver"),
			write(probeDriver, "{VF1}"), absent("V1/driver"), refuse(syscall.ENODEV, bindXe, "{VF1}"),
		},
	},
	{
		ID: "vfio_needs_override", Doc: "xe-vfio-pci binds only with an override, whether driver probing is on or off.",
		Needs: []Need{hasVFIO},
		Steps: []Step{
			write(autoprobe, "1"), write(numvfs, "1"), write(unbindXe, "{VF1}"),
			refuse(syscall.ENODEV, bindVFIO, "{VF1}"),
			write(override, vfioDriver), write(bindVFIO, "{VF1}"), present("/sys/bus/pci/drivers/xe-vfio-pci/{VF1}"),
			write(unbindVFIO, "{VF1}"), absent("V1/driver"),
		},
	},
	{
		ID: "vfio_bind",
		Doc: "With the override drivers_probe binds xe-vfio-pci, whether driver probing is on or off; then the VF " +
			"has an IOMMU group and a VFIO device.", Needs: []Need{hasVFIO},
		Steps: []Step{
			write(numvfs, "1"), write(override, vfioDriver), write(probeDriver, "{VF1}\n"),
			present("V1/iommu_group", "V1/vfio-dev"),
		},
		Check: checkVFIOBound,
	},
}

func checkVFIOBound(_ context.Context, p *Probe) error {
	dir, err := p.Path("V1/")
	if err != nil {
		return err
	}
	link, err := p.sys.Readlink(dir + "/driver")
	if err != nil || path.Base(link) != vfioDriver {
		return differs(err, "driver links to %q, want %s", link, vfioDriver)
	}
	group, err := p.sys.Readlink(dir + "/iommu_group")
	if err != nil || path.Base(path.Dir(group)) != "iommu_groups" {
		return differs(err, "iommu_group links to %q, want one of …/kernel/iommu_groups", group)
	}
	nodes, err := p.sys.ReadDir(dir + "/vfio-dev")
	if err != nil || len(nodes) != 1 || !strings.HasPrefix(nodes[0].Name(), "vfio") {
		return differs(err, "vfio-dev has %v, want one vfio<n>", nodes)
	}
	return nil
}
