package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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

// An ImageInfo is what qemu-img tells of a disk image.
type ImageInfo struct {
	Format string // "qcow2", "raw", ...
	Size   int64  `json:"virtual-size"` // of the disk that a guest sees, in bytes
	Used   int64  `json:"actual-size"`  // on the host's own disk, in bytes
}

// InspectImage asks qemu-img what an image is: a [bench.UsageError] if it is none that can be read. It reads one that a running
// machine has open, too: none is written to.
func InspectImage(ctx context.Context, image string) (info ImageInfo, err error) {
	out, err := run(ctx, "qemu-img", "info", "--force-share", "--output=json", image)
	if err != nil {
		return info, badImage(image, err)
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return info, infra("read what qemu-img info says", err)
	}
	return info, nil
}

// The first sector of a disk that firmware boots ends in a signature, that of a GPT disk as well (UEFI specification, section 5.2).
const sectorSize = 512

var bootSignature = []byte{0x55, 0xaa}

// BootRecord reports whether the image has a boot record, without which a machine waits for ever with nothing to run.
func (i ImageInfo) BootRecord(ctx context.Context, image string) (bool, error) {
	if i.Size < sectorSize {
		return false, nil
	}
	dir, err := os.MkdirTemp("", "vmtb-sector-")
	if err != nil {
		return false, infra("make a temporary directory", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "sector")
	if _, err := run(ctx, "qemu-img", "dd", "-U", "-f", i.Format, "-O", "raw", fmt.Sprintf("bs=%d", sectorSize), "count=1", "if="+image, "of="+file); err != nil {
		return false, badImage(image, err)
	}
	sector, err := os.ReadFile(file)
	if err != nil {
		return false, infra("read a boot sector", err)
	}
	return len(sector) == sectorSize && bytes.HasSuffix(sector, bootSignature), nil
}
