package vm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmtb/bench"
)

// OVMF in one file is preferred. If it is in two files, VARS comes before CODE, as in the one file.
func TestFirmwareFiles(t *testing.T) {
	root := t.TempDir()
	add := func(path string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, path), []byte(path), 0o600))
	}
	look := func(f Firmware, want ...string) {
		t.Helper()
		got, err := f.files(root)
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], root)
		}
		if !slices.Equal(got, want) || err != nil {
			t.Errorf("%q: %q, %v, want %q", f, got, err, want)
		}
	}
	look("")
	look(BIOS)
	if _, err := UEFI.files(root); !errors.As(err, new(*bench.InfraError)) ||
		!strings.Contains(err.Error(), "install the package ovmf") {
		t.Errorf("%v", err)
	}
	if _, err := Firmware("/my.fd").files(root); !errors.As(err, new(*bench.UsageError)) ||
		!strings.Contains(err.Error(), "/my.fd") {
		t.Errorf("%v", err)
	}
	add("/usr/share/OVMF/OVMF_CODE_4M.fd")
	add("/usr/share/OVMF/OVMF_VARS_4M.fd")
	look(UEFI, "/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd")
	add("/usr/share/ovmf/OVMF.fd")
	look(UEFI, "/usr/share/ovmf/OVMF.fd")
	add("/my.fd")
	look("/my.fd", "/my.fd")
}

// A machine boots with the firmware of its spec, or with QEMU's own if the spec has none.
func TestFirmwareArgs(t *testing.T) {
	s := Spec{Name: "vm0", Disks: []Disk{{Image: "/x", Format: "raw"}}}
	if argv := s.Args(Layout{Overlays: []string{"/o"}}); slices.Contains(argv, "-bios") {
		t.Errorf("%q", argv)
	}
	s.Firmware = UEFI
	argv := s.Args(Layout{Overlays: []string{"/o"}, Firmware: "/usr/share/ovmf/OVMF.fd"})
	if i := slices.Index(argv, "-bios"); i < 0 || argv[i+1] != "/usr/share/ovmf/OVMF.fd" {
		t.Errorf("%q", argv)
	}
	for f, valid := range map[Firmware]bool{"": true, BIOS: true, UEFI: true, "/a": true, "ovmf": false, "a/b": false} {
		s.Firmware = f
		if err := s.Validate(); (err == nil) != valid {
			t.Errorf("%q: %v", f, err)
		}
	}
}
