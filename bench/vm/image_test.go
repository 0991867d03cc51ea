package vm

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vmtb/bench"
)

func TestCheckImage(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	if err := CheckImage(image); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{image + "2", image + "/x", filepath.Dir(image), "/dev/null", "", "lat\xe9.img"} {
		if err := CheckImage(bad); !errors.As(err, new(*bench.UsageError)) {
			t.Errorf("%q: %v, want a UsageError", bad, err)
		}
	}
}

// An image in an archive or a compressed one is refused with the command that unpacks it. A disk
// image is accepted.
func TestCheckPacked(t *testing.T) {
	dir := t.TempDir()
	tar := make([]byte, sectorSize)
	copy(tar[257:], "ustar\x0000")
	for content, unpack := range map[string]string{
		"\x1f\x8b\x08rest":            "gzip -dk",
		"\xfd7zXZ\x00rest":            "xz -dk",
		"\x28\xb5\x2f\xfdrest":        "zstd -d",
		"BZh9":                        "bzip2 -dk",
		"PK\x03\x04":                  "unzip",
		string(tar):                   "tar -xf",
		"QFI\xfb":                     "",
		string(record(grub)):          "",
		"":                            "",
		"\x1f":                        "",
		strings.Repeat("\x00", 1<<10): "",
	} {
		image := filepath.Join(dir, "a b.img")
		must(t, os.WriteFile(image, []byte(content), 0o600))
		err := checkPacked(image)
		if unpack == "" && err == nil {
			continue
		}
		if unpack == "" || !errors.As(err, new(*bench.UsageError)) ||
			!strings.Contains(err.Error(), unpack+" '"+image+"'") {
			t.Errorf("%.10q: %v, want %q", content, err, unpack)
		}
	}
}

// needQEMUImg skips a test where qemu-img is not installed.
func needQEMUImg(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
}

// realQEMUImg runs the real qemu-img.
func realQEMUImg(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %q: %v: %s", args, err, out)
	}
}

// TestLookAtImage checks images of all kinds as qemu-img sees them. Bootable ones are accepted
// under any name; the others are refused with the reason and the remedy.
func TestLookAtImage(t *testing.T) {
	needQEMUImg(t)
	t.Chdir(t.TempDir())
	write := func(name string, data []byte) {
		t.Helper()
		must(t, os.WriteFile(name, data, 0o600))
	}
	disk := append(record(grub, part{0x83, false}), bytes.Repeat([]byte("data"), 256<<10)...)
	for _, name := range []string{
		"disk.img", "guest-2026-11-28T12:00:00.img", "-dash.img", "a,b c%d.img", "json:{}.img", "#?.img",
	} {
		write(name, disk)
		info, err := LookAtImage(t.Context(), name, "")
		if err != nil || info.Format != "raw" || info.Size != int64(len(disk)) {
			t.Errorf("%q: %+v, %v", name, info, err)
		}
	}
	realQEMUImg(t, "convert", "-f", "raw", "-O", "qcow2", "disk.img", "disk.qcow2")
	realQEMUImg(t, "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", "diff.qcow2")
	realQEMUImg(t, "create", "-q", "-f", "qcow2", "-b", "diff.qcow2", "-F", "qcow2", "diff2.qcow2")
	realQEMUImg(t, "convert", "-f", "raw", "-O", "vmdk", "disk.img", "disk.vmdk")
	for _, name := range []string{"disk.qcow2", "diff.qcow2", "diff2.qcow2", "disk.vmdk"} {
		if info, err := LookAtImage(t.Context(), name, BIOS); err != nil || info.Size != int64(len(disk)) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}

	write("text.img", []byte("hello\n"))
	write("empty.img", nil)
	write("guest.raw.gz", []byte("\x1f\x8b\x08"))
	write("torn.qcow2", []byte("QFI\xfbgarbage"))
	write("uefi.img", gpt("", 0, guidESP))
	realQEMUImg(t, "convert", "-f", "raw", "-O", "qcow2", "uefi.img", "uefi.qcow2")
	realQEMUImg(t, "create", "-q", "-f", "qcow2", "empty.qcow2", "1M")
	whole, err := os.ReadFile("disk.qcow2")
	must(t, err)
	write("header.qcow2", whole[:50])
	write("cut.qcow2", whole[:len(whole)/2])
	realQEMUImg(t, "create", "-q", "-f", "qcow2", "-b", "cut.qcow2", "-F", "qcow2", "oncut.qcow2")
	realQEMUImg(t, "create", "-q", "-f", "raw", "gone.img", "1M")
	realQEMUImg(t, "create", "-q", "-f", "qcow2", "-b", "gone.img", "-F", "raw", "orphan.qcow2")
	must(t, os.Remove("gone.img"))
	for name, want := range map[string]string{
		"nosuch.img":   "no such file",
		"text.img":     "text.img (raw, 6 bytes) has no boot record",
		"empty.img":    "empty.img (raw, 0 bytes) has no boot record",
		"empty.qcow2":  "has no boot record",
		"guest.raw.gz": "gzip -dk guest.raw.gz",
		"torn.qcow2":   "download, copy or make it again",
		"header.qcow2": "download, copy or make it again",
		"uefi.img":     "boots by UEFI only",
		"uefi.qcow2":   "--firmware=uefi",
		"cut.qcow2":    "damaged",
		"oncut.qcow2":  "its backing file",
		"orphan.qcow2": "gone.img",
	} {
		_, err := LookAtImage(t.Context(), name, BIOS)
		if !errors.As(err, new(*bench.UsageError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a UsageError with %q", name, err, want)
		}
	}
	for _, name := range []string{"uefi.img", "uefi.qcow2"} {
		if _, err := LookAtImage(t.Context(), name, UEFI); err != nil {
			t.Errorf("%s by UEFI: %v", name, err)
		}
	}
}
