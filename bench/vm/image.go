package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"vmtb/bench"
)

// CheckImage says early what QEMU would say late: a [bench.UsageError] if there is no file or disk
// at path.
func CheckImage(path string) error {
	refuse := func(err error, advice string) error {
		return &bench.UsageError{Err: fmt.Errorf("guest image: %w", err), Advice: advice}
	}
	if !utf8.ValidString(path) {
		return refuse(fmt.Errorf("%q: the name is not UTF-8", path), "rename it: QEMU's protocol takes only UTF-8")
	}
	info, err := os.Stat(path)
	// a disk is fine, /dev/null is not
	if err == nil && !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeDevice {
		err = fmt.Errorf("%s is neither a file nor a disk", path)
	}
	if err != nil {
		return refuse(err, "")
	}
	return nil
}

// An ImageInfo is what qemu-img says about a disk image.
type ImageInfo struct {
	Format string // "qcow2", "raw", ...
	// of the disk that a guest sees, in bytes; qemu-img rounds it up to whole sectors
	Size int64 `json:"virtual-size"`
	Used int64 `json:"actual-size"` // on the host's own disk, in bytes

	Backing string `json:"full-backing-filename"` // the image that this one is a difference to, or ""
}

// InspectImage asks qemu-img what an image is: a [bench.UsageError] if it is none that can be read.
// It reads one that a running machine has open, too: none is written to.
func InspectImage(ctx context.Context, image string) (info ImageInfo, err error) {
	file, err := filepath.Abs(image) // qemu-img takes "x" of "x:y" for a protocol, and "-x" for an option
	if err != nil {
		return info, infra("find an image", err)
	}
	return inspect(ctx, image, file)
}

// inspect asks about a file, or about what qemu-img itself calls a backing file. name is for
// messages.
func inspect(ctx context.Context, name, file string) (info ImageInfo, err error) {
	out, err := qemuImg(ctx, "info", "--force-share", "--output=json", file)
	if err != nil {
		return info, badImage(name, err)
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return info, infra("read the output of qemu-img info", err)
	}
	return info, nil
}

// LookAtImage looks at a guest image from outside, for all that it takes to boot it with a
// firmware, and tells what it is. An image that cannot boot is a [bench.UsageError] that says why
// and what to do: it is compressed or encrypted, its format is damaged, its backing file is
// missing, another program writes to it, or there is nothing in it that the firmware boots. The
// image is not changed.
func LookAtImage(ctx context.Context, image string, firmware Firmware) (ImageInfo, error) {
	if err := CheckImage(image); err != nil {
		return ImageInfo{}, err
	}
	if err := checkPacked(image); err != nil {
		return ImageInfo{}, err
	}
	info, err := InspectImage(ctx, image)
	if err != nil {
		if usage, ok := errors.AsType[*bench.UsageError](err); ok {
			usage.Advice = "the image may be damaged or incomplete: download, copy or make it again"
		}
		return info, err
	}
	if info.Format == "raw" {
		if stat, err := os.Stat(image); err == nil && stat.Mode().IsRegular() {
			info.Size = stat.Size()
		}
	}
	if info.Format == "luks" {
		return info, refuseImage("boot an image that is not encrypted", "%s is encrypted (LUKS)", image)
	}
	if err := checkChain(ctx, image, info); err != nil {
		return info, err
	}
	if firmware == NoBoot {
		return info, nil
	}
	start, err := info.start(ctx, image)
	if err != nil {
		return info, err
	}
	if firmware == "" {
		firmware = BIOS
	}
	return info, checkBoot(start, fmt.Sprintf("%s (%s, %d bytes)", image, info.Format, info.Size), firmware)
}

func refuseImage(advice, format string, args ...any) error {
	return &bench.UsageError{Err: fmt.Errorf(format, args...), Advice: advice}
}

// packings are how files begin that must be unpacked before they are disks, and with what.
var packings = []struct{ magic, name, unpack string }{
	{"\x1f\x8b", "compressed with gzip", "gzip -dk"},
	{"\xfd7zXZ\x00", "compressed with xz", "xz -dk"},
	{"\x28\xb5\x2f\xfd", "compressed with zstd", "zstd -d"},
	{"BZh", "compressed with bzip2", "bzip2 -dk"},
	{"\x04\x22\x4d\x18", "compressed with lz4", "lz4 -dk"},
	{"LZIP", "compressed with lzip", "lzip -dk"},
	{"PK\x03\x04", "a zip archive", "unzip"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x"},
}

// checkPacked refuses what must be unpacked first: qemu-img takes it for a raw disk.
func checkPacked(image string) error {
	f, err := os.Open(image)
	if err != nil {
		return &bench.UsageError{Err: fmt.Errorf("guest image: %w", err)}
	}
	defer f.Close()
	head := make([]byte, sectorSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return infra("read an image", err)
	}
	for _, p := range packings {
		if bytes.HasPrefix(head[:n], []byte(p.magic)) {
			return refuseImage(
				fmt.Sprintf("unpack it first: %s %s", p.unpack, bench.Command{Argv: []string{image}}),
				"%s is %s, not a disk", image, p.name,
			)
		}
	}
	if n == sectorSize && string(head[257:262]) == "ustar" {
		return refuseImage(
			fmt.Sprintf("unpack it first: tar -xf %s", bench.Command{Argv: []string{image}}),
			"%s is a tar archive, not a disk", image,
		)
	}
	return nil
}

// maxChain is more backing files than anybody stacks: a longer chain is a ring.
const maxChain = 100

// checkChain looks at the format of an image, and of those that it is a difference to, the last of
// them first: qemu-img check of one opens all that are behind it.
func checkChain(ctx context.Context, image string, info ImageInfo) error {
	type link struct{ file, format string }
	file, err := filepath.Abs(image)
	if err != nil {
		return infra("find an image", err)
	}
	chain := []link{{file, info.Format}}
	for info.Backing != "" {
		if len(chain) > maxChain {
			return refuseImage("", "%s has a chain of more than %d backing files", image, maxChain)
		}
		backing := info.Backing
		info, err = inspect(ctx, backing, backing)
		switch {
		case errors.As(err, new(*bench.UsageError)):
			return refuseImage(
				"restore the backing file, or make an image without one: qemu-img convert -O qcow2",
				"%s: its backing file cannot be used: %w", image, err,
			)
		case err != nil:
			return err
		}
		chain = append(chain, link{backing, info.Format})
	}
	for i, l := range slices.Backward(chain) {
		name, what := image, "it"
		if i > 0 {
			name, what = l.file, "its backing file "+l.file
		}
		if err := checkUnlocked(name, l.file); err != nil {
			return err
		}
		if err := checkFormat(ctx, image, what, l.file, l.format); err != nil {
			return err
		}
	}
	return nil
}

// What qemu-img check returns (qemu-img(1)), besides 0.
const (
	checkLeaks       = 3 // clusters are lost, and all data is there
	checkUnsupported = 63
)

// checkTime bounds the look at a format. What takes longer has been well so far.
const checkTime = time.Minute

// checkFormat has qemu-img check the format's own data in a file, which is a matter of moments.
// what is the file, in a message about image.
func checkFormat(ctx context.Context, image, what, file, format string) error {
	if format == "raw" {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	_, err := qemuImg(limited, "check", "-q", "-f", format, file)
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil, limited.Err() != nil && ctx.Err() == nil:
		return nil
	case !ok:
		return badImage(image, err)
	case exit.ExitCode() == checkLeaks, exit.ExitCode() == checkUnsupported:
		return nil
	case strings.Contains(err.Error(), "another process using the image"):
		return inUse(image, "which writes to it") // since [checkUnlocked]
	}
	return refuseImage("the image may be incomplete: download, copy or make it again",
		"%s: %s is damaged as a %s file: qemu-img check: %s", image, what, format, lastWords(err))
}

// lastWords is the last line that a program has said, which counts what it found before.
func lastWords(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// startSize is how much of a disk [checkBoot] wants: the boot record, and a GPT with its 128
// entries.
const startSize = 64 << 10

// start reads the beginning of the disk in an image.
func (i ImageInfo) start(ctx context.Context, image string) ([]byte, error) {
	file, err := filepath.Abs(image)
	if err != nil {
		return nil, infra("find an image", err)
	}
	if i.Format == "raw" {
		f, err := os.Open(file)
		if err != nil {
			return nil, infra("read an image", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, startSize))
		return data, infra("read an image", err)
	}
	if i.Size == 0 {
		return nil, nil
	}
	dir, err := os.MkdirTemp("", "vmtb-start-")
	if err != nil {
		return nil, infra("make a temporary directory", err)
	}
	defer os.RemoveAll(dir)
	start := filepath.Join(dir, "start")
	_, err = qemuImg(
		ctx, "dd", "-U", "-f", i.Format, "-O", "raw", fmt.Sprintf("bs=%d", sectorSize),
		fmt.Sprintf("count=%d", startSize/sectorSize), "if="+file, "of="+start,
	)
	if err != nil {
		return nil, badImage(image, err)
	}
	data, err := os.ReadFile(start)
	return data, infra("read the beginning of a disk", err)
}
