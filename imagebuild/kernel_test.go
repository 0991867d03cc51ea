package imagebuild

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmtb/bench"
)

// write writes files, with their paths as content, below dir.
func write(t *testing.T, dir string, files ...string) {
	t.Helper()
	for _, file := range files {
		path := filepath.Join(dir, file)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(file+"\n"), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestParseKernel(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, dir,
		"built/Makefile", "built/arch/x86/boot/bzImage", "built/include/config/kernel.release", "built/modules.order",
		"source/Makefile", "7.2/x", "linux-image.deb", "text", "xe.ko", "mod/lib/modules/7.3.0/modules.order",
		"two/lib/modules/7.3.0/modules.order", "two/lib/modules/7.4.0/modules.order",
		"other/lib/modules/7.4.0/modules.order",
	)
	writeImage(t, "bzImage", "7.3.0")
	for _, c := range []struct {
		text  string
		want  Kernel
		built bool
		wrong string
	}{
		{text: ""},
		{text: "7.2", want: Kernel{version: "7.2"}},
		{text: "7.2.13+deb14", want: Kernel{version: "7.2.13+deb14"}},
		{text: "./built", want: Kernel{tree: "./built"}, built: true},
		{text: "linux-image.deb", want: Kernel{deb: "linux-image.deb"}, built: true},
		{text: "bzImage:mod", want: Kernel{image: "bzImage", modules: "mod"}, built: true},
		{
			text: "bzImage:mod/lib/modules/7.3.0",
			want: Kernel{image: "bzImage", modules: "mod/lib/modules/7.3.0"}, built: true,
		},
		{text: "./7.2", wrong: "the kernel is not built: there is no arch/x86/boot/bzImage"},
		{text: "source", wrong: "the kernel is not built: there is no arch/x86/boot/bzImage"},
		{text: "bzImage", wrong: "a kernel image alone has no modules"},
		{text: "xe.ko", wrong: "it is a module, not a kernel"},
		{text: "text:mod", wrong: "text: it is not a kernel image"},
		{text: "bzImage:other", wrong: "the image is Linux 7.3.0, and the modules are of Linux 7.4.0"},
		{text: "bzImage:source", wrong: "has no modules of a kernel"},
		{text: "bzImage:two", wrong: "has the modules of 2 kernels"},
		{text: "none:mod", wrong: "none: no such file"},
		{text: "7", wrong: "it is not a version"},
		{text: "nowhere", wrong: "it is not a version"},
		{text: "~/linux", wrong: "write $HOME"},
		{text: "v7.2", wrong: "the version in Debian's archive is 7.2"},
	} {
		got, err := ParseKernel("--kernel", c.text)
		if c.wrong != "" {
			if !errors.As(err, new(*bench.UsageError)) || !strings.Contains(err.Error(), c.wrong) ||
				!strings.Contains(err.Error(), "--kernel="+c.text) {
				t.Errorf("%q: %v, want a UsageError with %q", c.text, err, c.wrong)
			}
			continue
		}
		if c.text != "" {
			c.want.Flag, c.want.Text = "--kernel", c.text
		}
		if err != nil || got != c.want || got.Built() != c.built {
			t.Errorf("%q: %+v, %v; want %+v, built %t", c.text, got, err, c.want, c.built)
		}
	}
	if _, err := ParseKernel("--kernel", "source"); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("%v, want ErrNotBuilt", err)
	}
}

// writeImage writes a kernel image that is only a header.
func writeImage(t *testing.T, path, release string) {
	t.Helper()
	image := make([]byte, 0x300)
	copy(image[0x202:], "HdrS")
	image[0x20e] = 0x80
	copy(image[0x280:], release+" (builder@host) #1 SMP")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A run may be resumed in another working directory.
func TestAbsoluteKernel(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, dir, "a.deb", "mod/lib/modules/7.3.0/modules.order")
	writeImage(t, "bzImage", "7.3.0")
	for text, want := range map[string]string{
		"": "", "7.2": "7.2", "a.deb": dir + "/a.deb", "bzImage:mod": dir + "/bzImage:" + dir + "/mod",
	} {
		k, err := ParseKernel("--kernel", text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Absolute(); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

func FuzzParseKernel(f *testing.F) {
	f.Add("7.2")
	f.Add("bzImage:dir")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKernel("--kernel", text)
		if err == nil && k.Own() != (text == "") {
			t.Errorf("%q: %+v", text, k)
		}
	})
}

// The state of a tree changes when a module is built again, and an incomplete tree is not built.
func TestTreeState(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "Makefile", "arch/x86/boot/bzImage", "drivers/a.ko", "b.ko")
	k := Kernel{tree: dir, Flag: "--kernel", Text: dir}
	order := filepath.Join(dir, "modules.order")
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "include/config"), 0o755),
		os.WriteFile(filepath.Join(dir, treeRelease), []byte("7.3.0-mine\n"), 0o644),
		os.WriteFile(order, []byte("drivers/a.o\nb.ko\n"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	release, before, err := k.treeState()
	if err != nil || release != "7.3.0-mine" {
		t.Fatalf("%q, %v", release, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.ko"), []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, after, err := k.treeState(); err != nil || after == before {
		t.Errorf("%v: the state did not change with a module", err)
	}
	if err := os.Remove(filepath.Join(dir, "drivers/a.ko")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.treeState(); !errors.Is(err, ErrNotBuilt) || !strings.Contains(err.Error(), "drivers/a.ko") {
		t.Errorf("%v, want that drivers/a.ko is not built", err)
	}
}

// The modules of a tree that was built with O=DIR come from DIR, stripped and not compressed, and
// nothing in it changes.
func TestTreeSource(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	dir, work := t.TempDir(), t.TempDir()
	write(t, dir, "source/real.mk", "out/arch/x86/boot/bzImage", "out/b.ko")
	out := filepath.Join(dir, "out")
	for file, text := range map[string]string{
		"out/include/config/kernel.release": "7.3.0-mine\n", "out/modules.order": "b.o\n",
		"out/Makefile": "include " + dir + "/source/real.mk\n",
		"source/real.mk": "modules_install:\n\tmkdir -p $(INSTALL_MOD_PATH)/lib/modules/7.3.0-mine\n" +
			"\techo \"$(INSTALL_MOD_STRIP) $(DEPMOD) '$(CONFIG_MODULE_COMPRESS_ALL)'\" " +
			">$(INSTALL_MOD_PATH)/lib/modules/7.3.0-mine/b.ko\n",
	} {
		path := filepath.Join(dir, file)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	k, err := ParseKernel("--kernel", out)
	if err != nil {
		t.Fatal(err)
	}
	b := builder{ctx: t.Context()}
	s, err := b.treeSource(k)
	if err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(work, "in")
	lock, err := os.Open(work)
	if err == nil {
		defer lock.Close()
		err = os.Mkdir(in, 0o755)
	}
	if err == nil {
		err = s.get(in, lock, io.Discard)
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(in, "modules/7.3.0-mine/b.ko"))
	if err != nil || string(got) != "1 true ''\n" {
		t.Errorf("%q, %v", got, err)
	}
	if image, err := os.ReadFile(filepath.Join(in, "vmlinuz")); err != nil || len(image) == 0 {
		t.Error(err)
	}
	if _, again, err := k.treeState(); err != nil || again != s.parts[1] {
		t.Errorf("the tree has changed: %v", err)
	}
}

func FuzzModulesIn(f *testing.F) {
	f.Add("drivers/a.o\nb.ko\n\n../x.o\n")
	f.Fuzz(func(t *testing.T, order string) {
		for _, file := range modulesIn(order) {
			if !filepath.IsLocal(file) {
				t.Errorf("%q is not below the tree", file)
			}
		}
	})
}

// madison is what Debian's archive had in November 2026, without most of its lines.
const madison = `
linux-image-7.2.13+deb14-amd64 |   7.2.13-1 | http://m/debian sid/main amd64 Packages
linux-binary-7.2.13+deb14-amd64 |   7.2.13-1 | http://m/debian sid/main amd64 Packages
linux-modules-7.2.13+deb14-amd64 |   7.2.13-1 | http://m/debian sid/main amd64 Packages
linux-base-7.2.13+deb14-amd64 |   7.2.13-1 | http://m/debian sid/main amd64 Packages
linux-image-7.2.6+deb13-amd64 | 7.2.6-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages
linux-binary-7.2.6+deb13-amd64 | 7.2.6-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages
linux-modules-7.2.6+deb13-amd64 | 7.2.6-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages
linux-base-7.2.6+deb13-amd64 | 7.2.6-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages
linux-image-6.19.6+deb13-amd64 | 6.19.6-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages
linux-binary-6.19.6+deb13-amd64 | 6.19.6-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages
linux-image-7.1.13+deb13-amd64 | 7.1.13-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages
linux-binary-7.1.13+deb13-amd64 | 7.1.13-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages
linux-image-6.18.15+deb13-amd64 | 6.18.15-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages
linux-image-6.12.117+deb13-amd64 | 6.12.117-1 | http://m/debian trixie/main amd64 Packages
linux-image-6.12.117+deb13-amd64 | 6.12.117-0 | http://m/debian trixie/main amd64 Packages
linux-image-6.12.117+deb13-cloud-amd64 | 6.12.117-1 | http://m/debian trixie/main amd64 Packages
`

func TestKernelsOfArchive(t *testing.T) {
	kernels := parseKernels(madison)
	const want = "it has 6.12.117, 6.18.15, 7.2.6, 7.2.13; of 6.19.6 to 7.1.13 it has images without modules"
	if got := available(kernels); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	for _, c := range []struct{ version, want string }{
		{"7.2", "linux-binary-7.2.13+deb14-amd64=7.2.13-1 linux-modules-7.2.13+deb14-amd64=7.2.13-1 " +
			"linux-base-7.2.13+deb14-amd64=7.2.13-1"},
		{"7.2.6", "linux-binary-7.2.6+deb13-amd64=7.2.6-1~bpo13+1 linux-modules-7.2.6+deb13-amd64=7.2.6-1~bpo13+1 " +
			"linux-base-7.2.6+deb13-amd64=7.2.6-1~bpo13+1"},
		{"6.18.15+deb13", "linux-image-6.18.15+deb13-amd64=6.18.15-1~bpo13+1"},
		{"6.12", "linux-image-6.12.117+deb13-amd64=6.12.117-1"},
		{"6.1", "the archive of Debian has no such kernel"},
		{"7.2.1", "the archive of Debian has no such kernel"},
		{"7.1", "the archive of Debian has no such kernel any more: it has the image, but not the modules"},
	} {
		k, err := pickKernel(kernels, c.version)
		got := strings.Join(k.download(), " ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.version, got, c.want)
		}
	}
}

func FuzzParseKernels(f *testing.F) {
	f.Add(madison)
	f.Fuzz(func(t *testing.T, madison string) {
		for _, k := range parseKernels(madison) {
			if len(k.packages) == 0 && !k.gone || k.version == "" {
				t.Errorf("%+v has no packages", k)
			}
			for _, p := range k.download() {
				if strings.HasPrefix(p, "-") || !strings.Contains(madison, k.version) {
					t.Errorf("package %q", p)
				}
			}
		}
	})
}

// module returns the smallest ELF file with a section .modinfo.
func module(info string) []byte {
	// ELF header, three section headers, the names of the sections, the section.
	const names = "\x00.modinfo\x00.shstrtab\x00"
	const header, section = 64, 64
	le := func(n int, v uint64) (b []byte) {
		for range n {
			b, v = append(b, byte(v)), v>>8
		}
		return b
	}
	head := func(name, kind, offset, size int) []byte {
		return slices.Concat(
			le(4, uint64(name)), le(4, uint64(kind)), le(8, 0), le(8, 0), le(8, uint64(offset)), le(8, uint64(size)),
			le(8, 0), le(8, 1), le(8, 0),
		)
	}
	at := header + 3*section
	return slices.Concat(
		[]byte("\x7fELF\x02\x01\x01"), make([]byte, 9), le(2, 1), le(2, 62), le(4, 1), le(8, 0), le(8, 0),
		le(8, header), le(4, 0), le(2, header), le(2, 0), le(2, 0), le(2, section), le(2, 3), le(2, 2),
		head(0, 0, 0, 0), head(1, 1, at+len(names), len(info)), head(10, 3, at, len(names)),
		[]byte(names), []byte(info),
	)
}

func TestReadModule(t *testing.T) {
	dir := t.TempDir()
	good := module("license=GPL\x00name=xe\x00vermagic=7.3.4+deb13-amd64 SMP preempt mod_unload\x00name=late\x00")
	for _, c := range []struct {
		data []byte
		want string
	}{
		{good, "xe 7.3.4+deb13-amd64 xe.ko true"},
		{module("license=GPL\x00name=a\x00vermagic=7.2.0 SMP\x00"), "a 7.2.0 a.ko false"},
		{module("name=a\x00"), `no field "vermagic"`},
		{module("name=../a\x00vermagic=7\x00"), `its name is "../a"`},
		{[]byte("\xfd7zXZ"), "it is not an ELF file"},
	} {
		path := filepath.Join(dir, "m.ko")
		if err := os.WriteFile(path, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := ReadModule("--module", path)
		got := fmt.Sprint(m.Name, " ", m.Release, " ", m.file(), " ", m.drivesGPU())
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) || err != nil && !errors.As(err, new(*bench.UsageError)) {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	if _, err := ReadModule("--module", filepath.Join(dir, "none.ko")); !errors.As(err, new(*bench.UsageError)) {
		t.Errorf("%v, want a UsageError", err)
	}
}

func TestBuiltFor(t *testing.T) {
	m := Module{Flag: "--module", Path: "a.ko", Name: "a", Release: "7.3.4"}
	if err := builtFor("7.3.4", []Module{m}); err != nil {
		t.Error(err)
	}
	if err := builtFor("7.3.40", []Module{m}); !errors.As(err, new(*bench.UsageError)) ||
		!strings.Contains(err.Error(), "built for Linux 7.3.4, and this side of the lab has Linux 7.3.40") {
		t.Errorf("%v, want a UsageError with both releases", err)
	}
}

func FuzzParseModinfo(f *testing.F) {
	f.Add(module("name=xe\x00vermagic=7.3.4 SMP\x00"))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if info, err := parseModinfo(data); err == nil && (info["name"] == "" || info["vermagic"] == "") {
			t.Errorf("%v", info)
		}
	})
}
