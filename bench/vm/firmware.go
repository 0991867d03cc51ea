package vm

import (
	"errors"
	"os"
	"path/filepath"

	"vmtb/bench"
)

// A Firmware is what a machine boots with: [BIOS], [UEFI], or the absolute path of an image of
// one's own, which is taken for UEFI. "" is BIOS.
type Firmware string

// The firmwares that have names.
const (
	BIOS Firmware = "bios" // QEMU's own, SeaBIOS
	UEFI Firmware = "uefi" // OVMF; what a guest writes into its variables is lost when the machine ends

	// NoBoot is for [LookAtImage]: QEMU boots another kernel than the image's, so any disk will do.
	NoBoot Firmware = "none"
)

func (f Firmware) valid() bool {
	return f == "" || f == BIOS || f == UEFI || filepath.IsAbs(string(f))
}

// Where distributions have OVMF: in one file, or as code and an empty store of variables, which
// come first in one file.
var (
	ovmfWhole = []string{
		"/usr/share/ovmf/OVMF.fd",          // Debian, Ubuntu
		"/usr/share/qemu/OVMF.fd",          // the same, elsewhere
		"/usr/share/edk2/x64/OVMF.4m.fd",   // Arch
		"/usr/share/edk2-ovmf/x64/OVMF.fd", // Arch until 2023
		"/usr/share/edk2-ovmf/OVMF.fd",     // Gentoo
		"/usr/share/qemu/ovmf-x86_64.bin",  // openSUSE
	}
	ovmfPairs = [][2]string{
		{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},     // Debian, Ubuntu
		{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},           // the same, and Fedora
		{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"}, // Fedora, RHEL
		{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
		{"/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"},
		{"/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"}, // QEMU's own
	}
)

// Files returns the files of the host that f consists of; for QEMU's own BIOS there are none.
func (f Firmware) Files() ([]string, error) { return f.files("/") }

// CheckFirmware says early whether a machine can have a firmware: a [bench.InfraError] or
// [bench.UsageError] if its file is missing.
func CheckFirmware(f Firmware) error {
	_, err := f.files("/")
	return err
}

// files are the parts of the firmware's image, first part first; none for QEMU's own. root is "/",
// but in tests.
func (f Firmware) files(root string) ([]string, error) {
	exists := func(path string) bool {
		info, err := os.Stat(filepath.Join(root, path))
		return err == nil && info.Mode().IsRegular()
	}
	switch {
	case f == "" || f == BIOS:
		return nil, nil
	case f != UEFI && exists(string(f)):
		return []string{filepath.Join(root, string(f))}, nil
	case f != UEFI:
		return nil, refuseImage(
			"vm.firmware in the configuration, or --firmware, is bios, uefi or the path of a firmware image",
			"firmware: there is no file %s", string(f),
		)
	}
	for _, path := range ovmfWhole {
		if exists(path) {
			return []string{filepath.Join(root, path)}, nil
		}
	}
	for _, p := range ovmfPairs {
		if exists(p[0]) && exists(p[1]) {
			return []string{filepath.Join(root, p[1]), filepath.Join(root, p[0])}, nil
		}
	}
	return nil, &bench.InfraError{
		Op: "find UEFI firmware", Err: errors.New("OVMF is not in the usual places, such as /usr/share/ovmf/OVMF.fd"),
		Advice: "install the package ovmf (Debian, Ubuntu), edk2-ovmf (Fedora, Arch) or qemu-ovmf-x86_64 (openSUSE), " +
			"or give the path of an OVMF.fd as --firmware",
	}
}

// firmware returns the path of the image to boot with, "" for QEMU's own. What comes in parts is
// put together in the machine's private directory.
func (m *VM) firmware() (string, error) {
	parts, err := m.spec.Firmware.files("/")
	if err != nil || len(parts) == 0 {
		return "", err
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	var whole []byte
	for _, part := range parts {
		data, err := os.ReadFile(part)
		if err != nil {
			return "", infra("read the firmware", err)
		}
		whole = append(whole, data...)
	}
	path := m.Socket("firmware.fd")
	return path, infra("write the firmware", os.WriteFile(path, whole, 0o600))
}
