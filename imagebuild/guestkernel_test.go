package imagebuild

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/internal/progress"
)

// The files for a guest are made once for a kernel, and again for another build of it. A kernel without
// a driver that every guest needs is refused.
func TestBuildGuestKernel(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	modules := filepath.Join(dir, "mod/lib/modules/7.3.0")
	write(t, modules, "modules.order", "build", "kernel/sound/x.txt", "kernel/a.txt")
	builtin := "kernel/drivers/virtio/virtio_pci.ko\n"
	setBuiltin := func(text string) {
		if err := os.WriteFile(filepath.Join(modules, "modules.builtin"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	setBuiltin(builtin)
	writeImage(t, "bzImage", "7.3.0")
	program := filepath.Join(dir, "vmtb")
	elf := make([]byte, 64)
	copy(elf, "\x7fELF\x02\x01\x01")
	elf[16], elf[18], elf[20], elf[52], elf[54] = 2, 62, 1, 64, 56 // an executable for x86-64 without libraries
	if err := os.WriteFile(program, elf, 0o755); err != nil {
		t.Fatal(err)
	}
	k, err := ParseKernel("--kernel", "bzImage:mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range k.tools() {
		if _, err := os.Stat("/usr/sbin/" + tool.program); err != nil {
			if _, err := os.Stat("/usr/bin/" + tool.program); err != nil {
				t.Skipf("this machine has no %s", tool.program)
			}
		}
	}
	build := func() (GuestKernel, error) {
		return BuildGuestKernel(t.Context(), filepath.Join(dir, "cache"), program, k, progress.New(io.Discard, "", nil))
	}
	_, err = build()
	if !errors.Is(err, ErrUnfit) || !errors.As(err, new(*bench.UsageError)) ||
		!strings.Contains(err.Error(), "Linux 7.3.0 lacks modules that a guest needs: virtio_console.") {
		t.Errorf("%v, want that virtio_console is missing", err)
	}
	setBuiltin(builtin + "kernel/drivers/char/virtio_console.ko\n")
	first, err := build()
	if err != nil {
		t.Fatal(err)
	}
	initrd, err := os.ReadFile(first.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"vmtb/modules/7.3.0/kernel/a.txt\x00": true, "vmtb/modules/7.3.0/modules.dep\x00": true, "init\x00": true,
		"vmtb/modules/7.3.0/vmlinuz\x00": false, "sound/x.txt\x00": false, "7.3.0/build\x00": false,
	} {
		if bytes.Contains(initrd, []byte(name)) != want {
			t.Errorf("the initial RAM disk has %q: want %t", name, want)
		}
	}
	image, err := os.ReadFile(first.Image)
	if err != nil || !bytes.Contains(image, []byte("7.3.0 (builder")) || first.Release != "7.3.0" {
		t.Errorf("release %q, image %v", first.Release, err)
	}
	if again, err := build(); err != nil || again.Initrd != first.Initrd {
		t.Errorf("%v: the files were made again", err)
	}
	write(t, modules, "kernel/b.ko.txt")
	if other, err := build(); err != nil || other.Initrd == first.Initrd {
		t.Errorf("%v: the files were not made again for another build of the kernel", err)
	}
}
