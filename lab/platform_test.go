package lab

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// xe_uc_fw.c (parse_css_header) refuses a file whose sizes do not agree with its length, and a GuC that is too old.
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
	// header, microcode, signature: the file has all of them.
	if ucode := (total - header) * 4; len(file) != 128+ucode+(key+modulus+exponent)*4 {
		t.Errorf("the file has %d bytes and a microcode of %d", len(file), ucode)
	}
	if dword(16) != 70<<16|54<<8 || dword(17) != 1<<16|27<<8 {
		t.Errorf("versions %#x and %#x", dword(16), dword(17))
	}
}

func TestGPU(t *testing.T) {
	for _, g := range append(GPUs, "") {
		if err := g.Check(); err != nil {
			t.Errorf("%q: %v", g, err)
		}
	}
	if err := GPU("voodoo").Check(); err == nil || !strings.Contains(err.Error(), "voodoo") {
		t.Errorf("got %v, want an error that names the GPU", err)
	}
	devices, _, cmdline := PTL.hardware(nil)
	if len(devices) != 1 || !strings.HasPrefix(devices[0], "vmtb-gpu,") || strings.Contains(cmdline, "blacklist") {
		t.Errorf("ptl: devices %q, command line %q", devices, cmdline)
	}
	if StandIn.Real() || !PTL.Real() {
		t.Error("the real driver drives ptl, and not the stand-in")
	}
}

// Properties are QEMU's, whatever is in them, and only an emulated GPU has some.
func TestProperties(t *testing.T) {
	devices, _, _ := PTL.hardware([]string{"fault-h2g=1:1:fail,2:1:drop", "gts=2"})
	if want := "vmtb-gpu,id=gpu0,vfs=7,addr=2,fault-h2g=1:1:fail,,2:1:drop,gts=2"; len(devices) != 1 || devices[0] != want {
		t.Errorf("devices %q, want %q", devices, want)
	}
	if err := PTL.CheckProperties([]string{"fault-kill-work=2", "x=a=b"}); err != nil {
		t.Error(err)
	}
	for property, want := range map[string]string{"gts": "want NAME=VALUE", "=2": "want NAME=VALUE", "a,b=2": "want NAME=VALUE", "gts=": "want NAME=VALUE"} {
		if err := PTL.CheckProperties([]string{property}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", property, err, want)
		}
	}
	if err := StandIn.CheckProperties([]string{"gts=2"}); err == nil || !strings.Contains(err.Error(), "only an emulated GPU") {
		t.Errorf("of the stand-in: %v", err)
	}
}

// The program that starts QEMU gives the GPU to QEMU only, and all arguments as they are.
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
