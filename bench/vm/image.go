package vm

import (
	"fmt"
	"io/fs"
	"os"

	"vmtb/bench"
)

// CheckImage says early what QEMU would say late: a [bench.UsageError] if there is no disk image at path.
func CheckImage(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeDevice { // a disk is fine, /dev/null is not
		err = fmt.Errorf("%s: neither a file nor a disk", path)
	}
	if err != nil {
		return &bench.UsageError{Err: fmt.Errorf("guest image: %w", err), Advice: "--vm-image, or guest.os_image in the configuration, names the disk image to boot"}
	}
	return nil
}
