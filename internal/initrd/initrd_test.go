package initrd

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The archive has the program, the modules and what the kernel needs to start the program.
func TestWrite(t *testing.T) {
	program := filepath.Join(t.TempDir(), "vmtb")
	text := elfFile(1) // PT_LOAD
	if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	kernel := kernelTar(t, map[string]string{
		"7.3.0/": "", "7.3.0/vmlinuz": "the image", "7.3.0/kernel/": "", "7.3.0/kernel/a.ko": "module",
		"7.3.0/link": "-> kernel/a.ko",
	})
	var archive, image bytes.Buffer
	if err := Write(&archive, &image, program, "id", kernel); err != nil {
		t.Fatal(err)
	}
	if image.String() != "the image" {
		t.Errorf("the image is %q", image.String())
	}
	want := []string{
		"40755 dev", "20600 dev/console 5:1", "20666 dev/null 1:3", "40755 proc", "40755 sys", "40755 root",
		"40755 vmtb", "40755 vmtb/modules", "100444 vmtb/id id", "100755 init " + text,
		"40755 vmtb/modules/7.3.0", "40755 vmtb/modules/7.3.0/kernel", "100644 vmtb/modules/7.3.0/kernel/a.ko module",
		"120777 vmtb/modules/7.3.0/link kernel/a.ko",
	}
	if got := listCPIO(t, archive.Bytes()); !slices.Equal(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
}

// A program with dynamic libraries would not start: the archive has no libraries.
func TestWriteDynamicProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "vmtb")
	if err := os.WriteFile(program, []byte(elfFile(3)), 0o755); err != nil { // PT_INTERP
		t.Fatal(err)
	}
	err := Write(io.Discard, io.Discard, program, "", kernelTar(t, nil))
	if err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("%v", err)
	}
}

// elfFile returns a program with one header of that type.
func elfFile(kind uint32) string {
	b := make([]byte, 64+56)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)  // an executable
	le.PutUint16(b[18:], 62) // x86-64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], 64) // offset of the program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	le.PutUint32(b[64:], kind)
	return string(b)
}

// kernelTar returns an archive of directories ("name/"), links ("-> target") and files.
func kernelTar(t *testing.T, files map[string]string) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		h := tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(files[name]))}
		if target, ok := strings.CutPrefix(files[name], "-> "); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		} else if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name][:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// listCPIO lists a cpio archive: mode, name, and content or device.
func listCPIO(t *testing.T, data []byte) (list []string) {
	t.Helper()
	for {
		field := func(n int) int {
			v, err := strconv.ParseUint(string(data[6+8*n:14+8*n]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
		if string(data[:6]) != "070701" {
			t.Fatalf("no header, but %q", data[:6])
		}
		mode, size, nameSize := field(1), field(6), field(11)
		name := string(data[110 : 110+nameSize-1])
		if name == "TRAILER!!!" {
			return list
		}
		line := fmt.Sprintf("%o %s", mode, name)
		if field(9) != 0 {
			line += fmt.Sprintf(" %d:%d", field(9), field(10))
		}
		at := (110 + nameSize + 3) &^ 3
		if size > 0 {
			line += " " + string(data[at:at+size])
		}
		list = append(list, line)
		data = data[(at+size+3)&^3:]
	}
}

// write writes files, with their paths as content, below dir.
func write(t *testing.T, dir string, files ...string) {
	t.Helper()
	for _, file := range files {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func tree(t *testing.T) *moduleTree {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "7.3.0/kernel/a.ko", "7.3.0/kernel/b-c.ko")
	dep := "kernel/a.ko:\nkernel/b-c.ko: kernel/d.ko kernel/a.ko\nkernel/d.ko: kernel/a.ko\n"
	if err := os.WriteFile(filepath.Join(dir, "7.3.0/modules.dep"), []byte(dep), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := openModules(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOrder(t *testing.T) {
	m := tree(t)
	if got := m.order("b_c"); !slices.Equal(got, []string{"kernel/a.ko", "kernel/d.ko", "kernel/b-c.ko"}) {
		t.Errorf("%q", got)
	}
	if got := m.order("builtin"); got != nil {
		t.Errorf("%q for a module that the kernel does not have", got)
	}
}

// The modules replace those of the same release in the guest's root, and are not copied again when the
// guest boots again.
func TestGive(t *testing.T) {
	m := tree(t)
	for _, lib := range []string{"lib", "usr/lib"} {
		root := t.TempDir()
		write(t, root, lib+"/modules/7.3.0/old.ko", lib+"/modules/7.2.0/other.ko")
		if lib != "lib" {
			if err := os.Symlink("/usr/lib", filepath.Join(root, "lib")); err != nil {
				t.Fatal(err)
			}
		}
		modules := filepath.Join(root, lib, "modules")
		if err := m.copyTo(m.place(root), "one"); err != nil {
			t.Fatal(err)
		}
		if got := files(t, modules); !slices.Equal(got, []string{
			"7.2.0/other.ko", "7.3.0/.vmtb", "7.3.0/kernel/a.ko", "7.3.0/kernel/b-c.ko", "7.3.0/modules.dep",
		}) {
			t.Errorf("%s: %q", lib, got)
		}
		write(t, modules, "7.3.0/of-the-guest")
		err := m.copyTo(m.place(root), "one")
		if err != nil || !slices.Contains(files(t, modules), "7.3.0/of-the-guest") {
			t.Errorf("%s: %v: the modules were copied again", lib, err)
		}
		err = m.copyTo(m.place(root), "two")
		if err != nil || slices.Contains(files(t, modules), "7.3.0/of-the-guest") {
			t.Errorf("%s: %v: the modules of another build were not copied", lib, err)
		}
	}
}

func files(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestTypeOf(t *testing.T) {
	at := func(offset int, magic string) []byte {
		b := make([]byte, startSize)
		copy(b[offset:], magic)
		return b
	}
	for want, start := range map[string][]byte{
		"ext4": at(1080, "\x53\xef"), "xfs": at(0, "XFSB"), "btrfs": at(65600, "_BHRfS_M"), "": at(0, "FAT"),
	} {
		if got, ok := typeOf(start); got.kind != want || ok != (want != "") {
			t.Errorf("%q, want %q", got.kind, want)
		}
	}
	if _, ok := typeOf(nil); ok {
		t.Error("an empty disk has a file system")
	}
}

func TestFindInit(t *testing.T) {
	root := t.TempDir()
	if got := findInit(root, ""); got != "" {
		t.Errorf("%q in an empty root", got)
	}
	write(t, root, "usr/lib/systemd/systemd", "opt/init")
	if got := findInit(root, ""); got != "/usr/lib/systemd/systemd" {
		t.Errorf("%q", got)
	}
	write(t, root, "usr/sbin/x")
	for name, target := range map[string]string{"sbin": "usr/sbin", "usr/sbin/init": "/lib/systemd/systemd"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := findInit(root, ""); got != "/sbin/init" {
		t.Errorf("%q for a link whose target is in the guest", got)
	}
	if got := findInit(root, "/opt/init"); got != "/opt/init" {
		t.Errorf("%q, want the program of init=", got)
	}
}

func TestParameters(t *testing.T) {
	p := parameters("quiet root=/dev/vda1 root=/dev/vda2 rootflags=\"subvol=x\"\n")
	if p["root"] != "/dev/vda2" || p["rootflags"] != "subvol=x" || p["init"] != "" {
		t.Errorf("%q", p)
	}
}
