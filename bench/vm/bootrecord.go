package vm

import (
	"bytes"
	"encoding/binary"
)

// A disk's first sector holds a boot record: code that a BIOS runs, four partitions and a
// signature. With a GPT, one of the partitions is of type 0xEE and covers the disk, and a header
// and the real ones follow (UEFI specification, section 5.2 and 5.3).
const (
	sectorSize = 512

	codeSize       = 440 // of the boot record
	partitionTable = 446
	partitionSize  = 16
	activeFlag     = 0x80

	typeGPT = 0xee
	typeESP = 0xef
)

var bootSignature = []byte{0x55, 0xaa}

// fatTypes are the partition types of FAT, where UEFI looks for a loader, too.
var fatTypes = []byte{0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e, typeESP}

// Types of GPT partitions, as they are on the disk: the first three fields are little-endian.
var (
	guidESP      = []byte("\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b") // EFI system partition
	guidBIOSBoot = []byte("\x48\x61\x68\x21\x49\x64\x6f\x6e\x74\x4e\x65\x65\x64\x45\x46\x49") // GRUB's own, for BIOS
	guidData     = []byte("\xa2\xa0\xd0\xeb\xe5\xb9\x33\x44\x87\xc0\x68\xb6\xb7\x26\x99\xc7") // FAT or NTFS
)

// legacyBoot is the attribute of a GPT partition from which code for a BIOS boots.
const legacyBoot = 1 << 2

// A bootRecord is what the beginning of a disk says about ways to boot it.
type bootRecord struct {
	signature bool
	code      bool // for a BIOS
	wants     bool // the code is one that boots the active partition
	active    bool // there is an active partition, or one with the GPT attribute that means the same
	volume    bool // the whole disk is one file system, whose own code the record is
	parts     bool // there are partitions
	gpt       bool
	esp       bool // an EFI system partition
	fat       bool // something that UEFI could look for a loader in
	biosBoot  bool // GRUB's partition for BIOS
}

func readBootRecord(start []byte) (r bootRecord) {
	if len(start) < sectorSize || !bytes.Equal(start[sectorSize-2:sectorSize], bootSignature) {
		return r
	}
	r.signature = true
	code := start[:codeSize]
	r.code = len(bytes.Trim(code, "\x00")) > 0
	// The words of those codes when no partition is active: syslinux, FreeBSD, Microsoft.
	r.wants = bytes.Contains(code, []byte("issing operating system")) ||
		bytes.Contains(code, []byte("o active partition"))
	fat := bytes.HasPrefix(start[54:], []byte("FAT")) || bytes.HasPrefix(start[82:], []byte("FAT32"))
	if fat || bytes.HasPrefix(start[3:], []byte("NTFS")) || bytes.HasPrefix(start[3:], []byte("EXFAT")) {
		r.volume, r.fat = true, fat
		return r
	}
	for at := partitionTable; at < sectorSize-2; at += partitionSize {
		kind := start[at+4]
		r.parts = r.parts || kind != 0
		r.active = r.active || kind != 0 && start[at]&activeFlag != 0
		r.gpt = r.gpt || kind == typeGPT
		r.esp = r.esp || kind == typeESP
		r.fat = r.fat || bytes.IndexByte(fatTypes, kind) >= 0
	}
	if r.gpt {
		r.readGPT(start)
	}
	return r
}

// readGPT reads the partitions of a GPT, as far as they are in the beginning of the disk.
func (r *bootRecord) readGPT(start []byte) {
	if len(start) < 2*sectorSize || !bytes.HasPrefix(start[sectorSize:], []byte("EFI PART")) {
		return
	}
	header := start[sectorSize:]
	first := binary.LittleEndian.Uint64(header[72:]) * sectorSize
	count, size := uint64(binary.LittleEndian.Uint32(header[80:])), uint64(binary.LittleEndian.Uint32(header[84:]))
	if size < 128 || first > uint64(len(start)) {
		return
	}
	for at := first; count > 0 && at+size <= uint64(len(start)); at, count = at+size, count-1 {
		kind, attributes := start[at:at+16], binary.LittleEndian.Uint64(start[at+48:])
		r.esp = r.esp || bytes.Equal(kind, guidESP)
		r.fat = r.fat || bytes.Equal(kind, guidESP) || bytes.Equal(kind, guidData)
		r.biosBoot = r.biosBoot || bytes.Equal(kind, guidBIOSBoot)
		r.active = r.active || attributes&legacyBoot != 0
	}
}

// bios reports whether a BIOS finds something to boot.
func (r bootRecord) bios() bool {
	switch {
	case !r.code:
		return false
	case r.gpt:
		return r.biosBoot || r.active || !r.esp
	}
	return r.volume || !r.parts || r.active || !r.wants
}

// uefi reports whether UEFI finds a file system to look for a loader in.
func (r bootRecord) uefi() bool { return r.fat }

const needOfImage = "the image must boot by itself and start qemu-guest-agent"

// checkBoot refuses a disk, of which it gets the beginning, that has nothing for a firmware to
// boot. image is for messages.
func checkBoot(start []byte, image string, firmware Firmware) error {
	r := readBootRecord(start)
	switch {
	case !r.signature:
		return refuseImage(
			needOfImage+"; vmtb image build makes one that does", "%s has no boot record: it is not a bootable disk",
			image,
		)
	case firmware != BIOS && r.uefi(), firmware == BIOS && r.bios():
		return nil
	case firmware != BIOS:
		return refuseImage(
			"boot it without --firmware=uefi", "%s has no EFI system partition: UEFI finds nothing to boot", image,
		)
	case r.esp:
		return refuseImage(
			"give --firmware=uefi, or set vm.firmware to \"uefi\" in the configuration",
			"%s boots by UEFI only: its boot record has nothing that a BIOS boots", image,
		)
	case r.code && r.wants:
		return refuseImage(
			"mark the partition to boot from as active, for example with sfdisk --activate",
			"%s has no active partition: its boot record finds nothing to boot", image,
		)
	}
	return refuseImage(
		needOfImage+"; vmtb image build makes one that does",
		"%s has no code in its boot record: it is not a bootable disk", image,
	)
}
