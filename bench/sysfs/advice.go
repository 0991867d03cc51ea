package sysfs

import (
	"path"
	"syscall"
)

// advices lists what to do about a refusal. The first row whose pattern matches the end of the
// path, and whose errno is the kernel's, is used. Sources: the kernel's drivers/pci/iov.c and
// drivers/gpu/drm/xe.
var advices = []struct {
	file   string // a path.Match pattern for the last element
	errno  syscall.Errno
	advice string
}{
	{"sriov_numvfs", syscall.EBUSY, "VFs are enabled already: write 0 first; " +
		"or the GPU is being reset: try again and see dmesg"},
	{"sriov_numvfs", syscall.ERANGE, "more VFs than sriov_totalvfs; look at the xe.max_vfs parameter, " +
		"at sriov/max_vfs of the GPU in configfs, and at SR-IOV in the firmware's set-up"},
	{"sriov_numvfs", syscall.ENOENT, "the PF has no driver that can do SR-IOV: load xe"},
	{"sriov_numvfs", syscall.ENOSPC, "the resources are not enough for a fair share for each VF: " +
		"enable fewer VFs, or free GPU memory used on the host"},
	{"sriov_numvfs", syscall.EPERM, "enabling VFs is locked: a process holds debugfs lockdown_vfs_enabling open, " +
		"the EU debugger is enabled, a GT's ccs_mode is not 1; or you are not root"},
	{"sriov_numvfs", syscall.ENOMEM, "not enough MMIO or bus numbers for the VFs: " +
		"enable Above 4G Decoding, Resizable BAR and SR-IOV in the firmware, or boot with pci=realloc"},
	{"sriov_numvfs", syscall.EUCLEAN, "VFs hold resources from an earlier provisioning: reset it to automatic first"},
	{"sriov_numvfs", syscall.EIO, "the GPU's firmware refused; see dmesg"},
	{"restore_auto_provisioning", syscall.EBUSY, "VFs are enabled: write 0 to sriov_numvfs first"},
	{"ggtt_quota", syscall.ENOSPC, "no free GGTT range of that size: " +
		"another VF still holds one, or the PF uses it; see ggtt_available and ggtt_provisioned"},
	{"*_quota", syscall.ENOSPC, "not enough left: other VFs or the PF hold it; " +
		"see the *_provisioned files beside it"},
	{"*_quota", syscall.E2BIG, "more than the GPU has"},
	{"*_quota", syscall.ENOMEM, "not enough VRAM left: other VFs or the PF hold it"},
	{"*_quota", syscall.EDQUOT, "the VFs would then take the spare of the PF (the *_spare file)"},
	{"*_quota", syscall.EINVAL, "more than the hardware has"},
	{"*_quota", syscall.EIO, "the GPU's firmware refused; is the VF running?"},
	{"*_spare", syscall.EINVAL, "less than the kernel's minimum, or more than the hardware has"},
	{"drivers_probe", syscall.ENODEV, "there is no such PCI device: the VF may have been disabled"},
	{"bind", syscall.ENODEV, "the driver does not match the device, or it is bound already; " +
		"VFs need driver_override when sriov_drivers_autoprobe is 0"},
	{"unbind", syscall.ENODEV, "the device is not bound to this driver"},
	{"*", syscall.ECANCELED, "the driver has declared the GPU wedged: see dmesg, then reload the driver or reboot"},
	{"*", syscall.EUCLEAN, "the GTs of the device differ or more than one failed: see dmesg"},
	{"*", syscall.EACCES, "are you root?"},
	{"*", syscall.EPERM, "are you root, and is the kernel not locked down (Secure Boot)?"},
}

func advice(file string, errno syscall.Errno) string {
	base := path.Base(file)
	for _, a := range advices {
		if ok, _ := path.Match(a.file, base); ok && a.errno == errno {
			return a.advice
		}
	}
	return ""
}
