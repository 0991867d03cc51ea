package contract

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"vmtb/bench/pci"
)

const (
	numvfs      = "P/sriov_numvfs"
	autoprobe   = "P/sriov_drivers_autoprobe"
	bindXe      = "/sys/bus/pci/drivers/xe/bind"
	unbindXe    = "/sys/bus/pci/drivers/xe/unbind"
	probeDriver = "/sys/bus/pci/drivers_probe"
)

const losesGPU = "takes the GPU from its driver for a moment"

var pciRules = []Rule{
	{
		ID: "pf_files", Doc: "The files of a PF, and the values that are constant with xe.",
		Steps: []Step{
			mode(0o444, under("P/sriov_", "totalvfs", "offset", "stride", "vf_device", "vf_total_msix")...),
			mode(0o644, numvfs, autoprobe),
			read("{TOTAL}", "P/sriov_totalvfs"), read("0", numvfs, "P/sriov_vf_total_msix"),
		},
	},
	{
		ID: "modes_bind_root", Doc: "sysfs applies file modes to root, too.",
		Steps: []Step{refuse(syscall.EACCES, "P/sriov_totalvfs", "1"), unreadable(syscall.EACCES, probeDriver)},
	},
	{
		ID: "numvfs_parse", Doc: "Text that is not an unsigned 16-bit number is EINVAL; so is a number that is too " +
			"large.",
		Steps: []Step{
			refuse(
				syscall.EINVAL, numvfs, "x", "-1", "65536", "4294967297", "1.5", "1 ", " 1", "1\n\n", "0x", "08", "\n",
			), read("0", numvfs),
		},
	},
	{
		ID: "numvfs_range", Doc: "A number above sriov_totalvfs is ERANGE.",
		Steps: []Step{refuse(syscall.ERANGE, numvfs, "{TOTAL+1}", "65535", "0xffff"), read("0", numvfs)},
	},
	{
		ID: "numvfs_base", Doc: "Octal and hexadecimal numbers, a plus sign and a final newline are accepted.",
		Steps: []Step{
			become(numvfs, "0", "0", "0x0\n", "+0", "00"), become(numvfs, "1", "0x1\n"), become(numvfs, "0", "0\n"),
		},
	},
	{
		ID: "numvfs_same", Doc: "Writing the current number does nothing.",
		Steps: []Step{become(numvfs, "1", "1", "1", "01"), become(numvfs, "0", "0", "0")},
	},
	{
		ID: "numvfs_change",
		Doc: "The number cannot change while VFs are enabled, up or down; a number that is too large is still " +
			"ERANGE.", Needs: []Need{vfs(2)},
		Steps: []Step{
			write(numvfs, "2"), refuse(syscall.EBUSY, numvfs, "1"), refuse(syscall.ERANGE, numvfs, "{TOTAL+1}"),
			refuse(syscall.EINVAL, numvfs, "x"),
			read("2", numvfs), write(numvfs, "0"), write(numvfs, "1"), refuse(syscall.EBUSY, numvfs, "2"),
		},
	},
	{
		ID: "numvfs_unbound",
		Doc: "Without a driver enabling VFs is ENOENT; the kernel checks the range and the current number " +
			"first.",
		Destructive: losesGPU,
		Steps: []Step{
			write(unbindXe, "{PF}"), refuse(syscall.ENOENT, numvfs, "1"), refuse(syscall.ERANGE, numvfs, "65535"),
			refuse(syscall.EINVAL, numvfs, "x"),
			write(numvfs, "0"), absent("A/pf", "P/driver"), write(bindXe, "{PF}"), read("{TOTAL}", "P/sriov_totalvfs"),
		},
	},
	{
		ID: "unbind_disables", Doc: "Unbinding xe disables the VFs first.", Destructive: losesGPU,
		Steps: []Step{
			write(numvfs, "1"), present("P/virtfn0"), write(unbindXe, "{PF}"), read("0", numvfs), absent("P/virtfn0"),
			write(bindXe, "{PF}"), read("0", numvfs),
		},
	},
	{
		ID: "vf_links", Doc: "VF and PF link to each other while VFs are enabled.",
		Steps: []Step{
			absent("P/virtfn0"), write(numvfs, "1"), link("../{VF1}", "P/virtfn0"), link("../{PF}", "V1/physfn"),
			present("P/consumer:pci:{VF1}", "V1/supplier:pci:{PF}"), absent("P/virtfn1"), write(numvfs, "0"),
			absent("P/virtfn0"),
		},
	},
	{
		ID:  "vf_files",
		Doc: "A VF has the files of a PCI function without those of a PF, and without remove and rescan.",
		Steps: []Step{
			write(numvfs, "1"), mode(0o444, under("V1/", "vendor", "device", "class", "modalias")...),
			mode(0o644, "V1/driver_override"),
			mode(0o200, "V1/reset", "V1/sriov_vf_msix_count"), read("0x8086", "V1/vendor"),
			absent(
				under(
					"V1/", "sriov_totalvfs", "sriov_numvfs", "sriov_drivers_autoprobe", "remove", "rescan",
					"sriov_admin",
				)...,
			),
		},
	},
	{
		ID: "vf_msix", Doc: "xe does not allow a change of the number of a VF's interrupts.",
		Steps: []Step{
			write(numvfs, "1"), refuse(syscall.EINVAL, "V1/sriov_vf_msix_count", "x", "-1"),
			refuse(syscall.EOPNOTSUPP, "V1/sriov_vf_msix_count", "1"),
		},
	},
	{
		ID: "vf_device", Doc: "VFs have the PF's device id, in sriov_vf_device as %x and in the VF as 0x%04x.",
		Steps: []Step{write(numvfs, "1")}, Check: checkVFDevice,
	},
	{
		ID: "vf_address", Doc: "VF n is at the PF's routing id + sriov_offset + sriov_stride × (n-1).",
		Steps: []Step{write(numvfs, "{TOTAL}")}, Check: checkVFAddresses,
	},
	{
		ID: "vf_reset", Doc: "reset accepts the number 1 and nothing else.",
		Steps: []Step{
			write(numvfs, "1"), refuse(syscall.EINVAL, "V1/reset", "0", "2", "x", "-1", "\n"),
			write("V1/reset", "1", "0x1\n"),
		},
	},
	{
		ID:  "autoprobe_parse",
		Doc: "sriov_drivers_autoprobe is a boolean. Its first character counts; after an o, the second counts.",
		Steps: []Step{
			become(autoprobe, "1", "1", "y", "Yes", "true", "on", "On", "10"),
			become(autoprobe, "0", "0", "n", "No", "false", "off", "oF", "0x1"),
			refuse(syscall.EINVAL, autoprobe, "2", "x", "o", "\n", " 1"),
		},
	},
}

func checkVFDevice(_ context.Context, p *Probe) error {
	pf, err := p.uint("P/device")
	if err != nil {
		return err
	}
	if err := p.Reads("P/sriov_vf_device", fmt.Sprintf("%x\n", pf)); err != nil {
		return err
	}
	return p.Reads("V1/device", fmt.Sprintf("0x%04x\n", pf))
}

func checkVFAddresses(_ context.Context, p *Probe) error {
	offset, err := p.uint("P/sriov_offset")
	if err != nil {
		return err
	}
	stride, err := p.uint("P/sriov_stride")
	if err != nil {
		return err
	}
	domain, _, _ := strings.Cut(string(p.PF), ":")
	var bus, slot, function uint64
	if _, err := fmt.Sscanf(string(p.PF)[len(domain)+1:], "%x:%x.%x", &bus, &slot, &function); err != nil {
		return err
	}
	for n := 1; n <= p.Total; n++ {
		rid := bus<<8 + slot<<3 + function + offset + stride*uint64(n-1)
		want := pci.Address(fmt.Sprintf("%s:%02x:%02x.%x", domain, rid>>8, rid>>3&0x1f, rid&7))
		if got, err := p.vf(n); err != nil || got != want {
			return differs(err, "VF%d is at %q, want %s", n, got, want)
		}
	}
	return nil
}
