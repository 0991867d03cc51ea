package imagebuild

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The firmware file passes the driver's checks. xe_uc_fw.c (parse_css_header) refuses a file whose
// sizes do not match its length, and an old GuC.
func TestFirmware(t *testing.T) {
	dir := t.TempDir()
	if err := writeFirmware(dir); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "ptl_guc_70.bin"))
	if err != nil {
		t.Fatal(err)
	}
	dword := func(i int) int { return int(binary.LittleEndian.Uint32(file[4*i:])) }
	header, total, key, modulus, exponent := dword(1), dword(6), dword(7), dword(8), dword(9)
	if header-key-modulus-exponent != 32 {
		t.Errorf("the header has %d dwords without the key, want 32", header-key-modulus-exponent)
	}
	// The file consists of header, microcode and signature.
	if ucode := (total - header) * 4; len(file) != 128+ucode+(key+modulus+exponent)*4 {
		t.Errorf("the file has %d bytes and a microcode of %d", len(file), ucode)
	}
	if dword(16) != 70<<16|54<<8 || dword(17) != 1<<16|27<<8 {
		t.Errorf("versions %#x and %#x", dword(16), dword(17))
	}
}

// The launcher preloads the GPU into QEMU only, and passes all arguments unchanged.
func TestLauncher(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	loader := filepath.Join(tree, "lib64/ld-linux-x86-64.so.2")
	if err := os.MkdirAll(filepath.Dir(loader), 0o755); err != nil {
		t.Fatal(err)
	}
	const show = "#!/bin/sh\necho \"modules $QEMU_MODULE_DIR preload '$LD_PRELOAD'\"\nprintf '%s\\n' \"$@\"\n"
	if err := os.WriteFile(loader, []byte(show), 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "qemu")
	if err := writeLauncher(program, tree, "/x/gpu.so"); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "-name", "a b").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"modules " + tree + "/usr/lib/x86_64-linux-gnu/qemu preload ''\n",
		"--preload\n/x/gpu.so\n" + tree + "/usr/bin/qemu-system-x86_64\n",
		"\n-name\na b\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q\nis not in\n%s", want, out)
		}
	}
}
