package vm

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"vmtb/bench"
)

// A part is a partition of a test's image.
type part struct {
	kind   byte
	active bool
}

// record returns the first blocks of a disk with a boot record.
func record(code string, parts ...part) []byte {
	start := make([]byte, startSize)
	copy(start, code)
	for i, p := range parts {
		entry := start[partitionTable+i*partitionSize:]
		entry[4] = p.kind
		if p.active {
			entry[0] = activeFlag
		}
	}
	copy(start[sectorSize-2:], bootSignature)
	return start
}

// gpt returns the first blocks of a disk with a GPT.
func gpt(code string, attributes uint64, kinds ...[]byte) []byte {
	start := record(code, part{kind: typeGPT})
	header := start[sectorSize:]
	copy(header, "EFI PART")
	binary.LittleEndian.PutUint64(header[72:], 2)
	binary.LittleEndian.PutUint32(header[80:], 128)
	binary.LittleEndian.PutUint32(header[84:], 128)
	for i, kind := range kinds {
		entry := start[2*sectorSize+i*128:]
		copy(entry, kind)
		binary.LittleEndian.PutUint64(entry[48:], attributes)
	}
	return start
}

// volume returns the first blocks of a disk with one file system and no partitions.
func volume(at int, name string) []byte {
	start := record("\xeb\x58\x90MSDOS")
	copy(start[at:], name)
	return start
}

const (
	grub     = "\xeb\x63\x90 GRUB \x00Geom\x00Hard Disk\x00Read\x00 Error"
	syslinux = "\x33\xc0\xfa Missing operating system."
	windows  = "\x33\xc0\x8e Invalid partition table Error loading operating system Missing operating system"
)

// TestCheckBoot: on all kinds of disks, checkBoot finds the boot loader that either firmware would
// start.
func TestCheckBoot(t *testing.T) {
	linux := []byte("\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4")
	for name, c := range map[string]struct {
		start      []byte
		bios, uefi string // words of the refusal; "" is none
	}{
		"nothing":              {nil, "no boot record", "no boot record"},
		"a few bytes":          {[]byte("hello\n"), "no boot record", "no boot record"},
		"zeros":                {make([]byte, startSize), "no boot record", "no boot record"},
		"half a sector":        {record(grub)[:300], "no boot record", "no boot record"},
		"one sector":           {record(grub)[:sectorSize], "", "no EFI system partition"},
		"code, no partitions":  {record("\x31\xc0"), "", "no EFI system partition"},
		"signature alone":      {record(""), "no code", "no EFI system partition"},
		"data disk":            {record("", part{0x83, false}), "no code", "no EFI system partition"},
		"GRUB":                 {record(grub, part{0x83, false}), "", "no EFI system partition"},
		"syslinux":             {record(syslinux, part{0x83, false}, part{0x83, true}), "", "no EFI system partition"},
		"syslinux, not active": {record(syslinux, part{0x83, false}), "no active partition", "no EFI system partition"},
		"our own":              {record(syslinux, part{0x0c, true}, part{0x83, false}), "", ""},
		"ESP in an MBR":        {record("", part{typeESP, false}, part{0x83, false}), "by UEFI only", ""},
		"hybrid MBR":           {record(grub, part{typeESP, false}, part{0x83, true}), "", ""},
		"FAT":                  {volume(54, "FAT16"), "", ""},
		"FAT32":                {volume(82, "FAT32"), "", ""},
		"NTFS":                 {volume(3, "NTFS"), "", "no EFI system partition"},
		"cloud image":          {gpt(grub, 0, guidBIOSBoot, guidESP, linux), "", ""},
		"BIOS cloud image":     {gpt(grub, 0, guidBIOSBoot, linux), "", "no EFI system partition"},
		"UEFI cloud image":     {gpt("", 0, guidESP, linux), "by UEFI only", ""},
		"Windows":              {gpt(windows, 0, guidESP, guidData), "by UEFI only", ""},
		"gptmbr, legacy":       {gpt(syslinux, legacyBoot, guidESP, linux), "", ""},
		"GPT without code":     {gpt("", 0, linux), "no code", "no EFI system partition"},
		"GPT, header missing":  {record("", part{typeGPT, false})[:sectorSize], "no code", "no EFI system partition"},
	} {
		for firmware, want := range map[Firmware]string{BIOS: c.bios, UEFI: c.uefi, "/my/OVMF.fd": c.uefi} {
			err := checkBoot(c.start, "x.img", firmware)
			if want == "" && err == nil {
				continue
			}
			usage, ok := errors.AsType[*bench.UsageError](err)
			if want == "" || !ok || usage.Advice == "" ||
				!strings.Contains(err.Error(), "x.img has "+want) &&
					!strings.Contains(err.Error(), "x.img boots "+want) {
				t.Errorf("%s, %s: %v, want %q", name, firmware, err, want)
			}
		}
	}
}

// checkBoot survives any content of a disk.
func FuzzCheckBoot(f *testing.F) {
	f.Add(gpt(grub, legacyBoot, guidBIOSBoot, guidESP)[:4096])
	f.Add(record(syslinux, part{0x0c, true}))
	f.Fuzz(func(t *testing.T, start []byte) {
		bios, uefi := checkBoot(start, "x", BIOS), checkBoot(start, "x", UEFI)
		if (bios == nil || uefi == nil) && !readBootRecord(start).signature {
			t.Error("bootable without a signature")
		}
	})
}
