package imagebuild

import (
	"encoding/binary"
	"os"
	"path/filepath"
)

// A firmware is a firmware file for the emulated GPU: a header that xe accepts, and zeros. The
// header is uc_css_header of drivers/gpu/drm/xe/xe_uc_fw_abi.h; xe_uc_fw.c checks it. The driver
// does not read the rest, and the emulated GPU does not execute it.
type firmware struct {
	file              string // below /lib/firmware/xe
	version           [3]uint32
	submissionVersion [3]uint32 // of the interface to VFs; zeros except for GuC
}

// firmwares are the files in the lab's images. There is no file for GSC: xe refuses to load if it
// finds one and there is no media GT (xe_gsc.c).
var firmwares = []firmware{
	{file: "ptl_guc_70.bin", version: [3]uint32{70, 54, 0}, submissionVersion: [3]uint32{1, 27, 0}},
	{file: "ptl_huc.bin", version: [3]uint32{1, 0, 0}}, // for the media GT
	{file: "bmg_guc_70.bin", version: [3]uint32{70, 54, 0}, submissionVersion: [3]uint32{1, 27, 0}},
	{file: "bmg_huc.bin", version: [3]uint32{1, 0, 0}},
}

// These are sizes in dwords of 4 bytes, and in bytes.
const (
	cssDwords      = 32
	keyDwords      = 64
	modulusDwords  = 64
	exponentDwords = 1
	ucodeBytes     = 0x10000
)

// bytes returns the content of the file.
func (f firmware) bytes() []byte {
	var header [cssDwords]uint32
	header[0] = 6 // module type
	header[1] = cssDwords + keyDwords + modulusDwords + exponentDwords
	header[2] = 0x10000 // header version
	header[4] = 0x8086  // vendor
	header[5] = 0x20261128
	header[6] = header[1] + ucodeBytes/4
	header[7], header[8], header[9] = keyDwords, modulusDwords, exponentDwords
	header[16] = packVersion(f.version)
	header[17] = packVersion(f.submissionVersion)
	header[30] = 0x8000 // size of the private data in bytes
	file := make([]byte, header[6]*4)
	for i, dword := range header {
		binary.LittleEndian.PutUint32(file[4*i:], dword)
	}
	return file
}

func packVersion(v [3]uint32) uint32 { return v[0]<<16 | v[1]<<8 | v[2] }

// writeFirmware writes all firmware files into dir.
func writeFirmware(dir string) error {
	for _, f := range firmwares {
		if err := os.WriteFile(filepath.Join(dir, f.file), f.bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
