package pick

import (
	"context"
	"errors"
	"fmt"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/internal/prose"
)

// InspectImage is the type of [vm.LookAtImage]. Tests replace it.
type InspectImage func(ctx context.Context, image string, firmware vm.Firmware) (vm.ImageInfo, error)

// GuestImage inspects the configured guest image from outside. Every command that boots it calls
// this first.
func GuestImage(ctx context.Context, config *bench.Config, inspect InspectImage) (vm.ImageInfo, error) {
	image, firmware := config.Guest.OSImage, vm.Firmware(config.VM.Firmware)
	err := vm.CheckImage(image)
	if usage, ok := errors.AsType[*bench.UsageError](err); ok && usage.Advice == "" {
		usage.Advice = "--vm-image, or guest.os_image in the configuration, names the disk image to boot"
	}
	if err == nil {
		err = vm.CheckFirmware(firmware)
	}
	if err != nil {
		return vm.ImageInfo{}, err
	}
	if config.Guest.Kernel != "" {
		firmware = vm.NoBoot
	}
	return inspect(ctx, image, firmware)
}

// DescribeImage returns a line about the configured guest image.
func DescribeImage(c *bench.Config, info vm.ImageInfo) string {
	by := ""
	if c.VM.Firmware != string(vm.BIOS) {
		by = ", booted by UEFI"
	}
	return fmt.Sprintf("%s, %s, a disk of %s in a file of %s%s",
		c.Guest.OSImage, info.Format, prose.Bytes(info.Size), prose.Bytes(info.Used), by)
}
