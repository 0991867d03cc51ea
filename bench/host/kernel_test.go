package host

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"vmtb/bench"
)

// note returns an ELF note.
func note(name string, kind uint32, content string) []byte {
	var b bytes.Buffer
	for _, n := range []uint32{uint32(len(name)), uint32(len(content)), kind} {
		_ = binary.Write(&b, binary.NativeEndian, n)
	}
	for _, s := range []string{name, content} {
		b.WriteString(s + strings.Repeat("\x00", (4-len(s)%4)%4))
	}
	return b.Bytes()
}

const testBuildID = "\x85\xc7\xe4\xe2\xed\x76\xf4\x41\x7e\x8a\xaa\xd7\xc6\xb0\x40\xd2\xbb\x89\x7a\x26"

func TestBuildID(t *testing.T) {
	id, xen := note("GNU\x00", 3, testBuildID), note("Xen\x00", 6, "Linux\x00")
	for name, c := range map[string]struct {
		notes []byte
		want  string
	}{
		"alone": {id, "85c7e4e2ed76f4417e8aaad7c6b040d2bb897a26"},
		"behind others": {
			slices.Concat(xen, note("Linux\x00", 257, "\x00\x00\x00\x00"), id),
			"85c7e4e2ed76f4417e8aaad7c6b040d2bb897a26",
		},
		"other owner":    {note("Go\x00\x00", 3, testBuildID), ""},
		"other type":     {note("GNU\x00", 5, testBuildID), ""},
		"empty":          {note("GNU\x00", 3, ""), ""},
		"too long":       {note("GNU\x00", 3, strings.Repeat("x", 65)), ""},
		"none":           {nil, ""},
		"cut off":        {id[:len(id)-1], ""},
		"half a header":  {id[:11], ""},
		"huge size":      {append(bytes.Repeat([]byte{0xff}, 8), id[8:]...), ""},
		"without a tail": {note("GNU\x00", 3, "abc")[:19], "616263"},
	} {
		if got := buildID(c.notes); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func FuzzBuildID(f *testing.F) {
	f.Add(note("GNU\x00", 3, testBuildID))
	f.Add(slices.Concat(note("Xen\x00", 6, "Linux\x00"), note("GNU\x00", 3, "x")))
	f.Fuzz(func(t *testing.T, notes []byte) {
		if id := buildID(notes); len(id) > 128 || len(id) > 2*len(notes) {
			t.Errorf("%q", id)
		}
	})
}

const debugConfig = `#
# Automatically generated file; DO NOT EDIT.
#
CONFIG_64BIT=y
CONFIG_LOCALVERSION="-kasan"
CONFIG_DRM_XE=m
CONFIG_DRM_XE_DEBUG=y
CONFIG_KASAN=y
# CONFIG_KCSAN is not set
CONFIG_PROVE_LOCKING=y
CONFIG_DEBUG_KMEMLEAK=y
CONFIG_DEBUG_KMEMLEAK_DEFAULT_OFF=y
`

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestParseConfig(t *testing.T) {
	want := map[string]bool{
		"64BIT": true, "DRM_XE": true, "DRM_XE_DEBUG": true, "KASAN": true, "PROVE_LOCKING": true,
		"DEBUG_KMEMLEAK": true, "DEBUG_KMEMLEAK_DEFAULT_OFF": true,
	}
	packed := gzipped(t, debugConfig)
	for _, data := range [][]byte{[]byte(debugConfig), packed} {
		if got := parseConfig(data); !maps.Equal(got, want) {
			t.Errorf("%v", got)
		}
	}
	for _, data := range [][]byte{nil, []byte("no configuration\n"), packed[:len(packed)/2], packed[:3]} {
		if got := parseConfig(data); got != nil {
			t.Errorf("%q: %v", data, got)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(debugConfig))
	f.Add(gzipped(f, debugConfig))
	f.Fuzz(func(t *testing.T, data []byte) {
		for option := range parseConfig(data) {
			if option == "" {
				t.Errorf("%q", data)
			}
		}
	})
}

// filesReader reads from a map.
func filesReader(files map[string]string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		text, ok := files[path]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return []byte(text), nil
	}
}

func TestDebugOptions(t *testing.T) {
	const config = "/boot/config-7.3.4"
	for name, c := range map[string]struct {
		files map[string]string
		want  string // the beginning
	}{
		"configuration": {
			map[string]string{config: debugConfig}, "DRM_XE_DEBUG, KASAN, PROVE_LOCKING",
		},
		"of another kernel": {
			map[string]string{"/boot/config-7.2.0": debugConfig}, "unknown: DRM_XE_DEBUG, ",
		},
		"in /proc": {
			map[string]string{"/proc/config.gz": string(gzipped(t, debugConfig)), config: "CONFIG_64BIT=y\n"},
			"DRM_XE_DEBUG, KASAN, PROVE_LOCKING",
		},
		"beside the modules": {
			map[string]string{"/lib/modules/7.3.4/config": "CONFIG_UBSAN=y\n"}, "UBSAN",
		},
		"none": {map[string]string{config: "CONFIG_64BIT=y\n"}, "none"},
		"kmemleak on": {
			map[string]string{config: debugConfig, "/proc/cmdline": "quiet kmemleak=on\n"},
			"DRM_XE_DEBUG, KASAN, PROVE_LOCKING, DEBUG_KMEMLEAK",
		},
		"kmemleak off": {
			map[string]string{config: "CONFIG_DEBUG_KMEMLEAK=y\n", "/proc/cmdline": "kmemleak=off\n"}, "none",
		},
		"slab_debug": {
			map[string]string{config: "CONFIG_64BIT=y\n", "/sys/kernel/slab/kmalloc-64/poison": "1\n"}, "SLUB_DEBUG_ON",
		},
		"only files": {
			map[string]string{
				procFile: "", "/proc/lockdep_chains": "", debugfsFile: "", "/sys/kernel/slab/kmalloc-64/poison": "0\n",
			},
			"PROVE_LOCKING; unknown: DRM_XE_DEBUG, DRM_XE_DEBUG_VM, DRM_XE_DEBUG_SRIOV, DRM_XE_DEBUG_MEM, " +
				"DRM_XE_DEBUG_MEMIRQ, DRM_XE_DEBUG_GUC, DRM_XE_USERPTR_INVAL_INJECT, KASAN, KMSAN, UBSAN, KCOV, " +
				"DEBUG_ATOMIC_SLEEP, DEBUG_OBJECTS, DEBUG_VM",
		},
	} {
		got := debugOptionsFrom(filesReader(c.files), "7.3.4").String()
		if got != c.want && (!strings.HasSuffix(c.want, ", ") || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A shellMachine runs commands in a directory instead of "/".
type shellMachine struct {
	bench.Machine
	root string
	runs int
}

var rootPath = regexp.MustCompile(`([\s"<])(/(?:proc|sys|boot|lib)/)`)

func (*shellMachine) String() string { return "vm0" }

func (m *shellMachine) Exec(ctx context.Context, c bench.Command) (bench.Result, error) {
	m.runs++
	script := rootPath.ReplaceAllString(c.Argv[2], "${1}"+m.root+"$2")
	out, err := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", script}, c.Argv[3:]...)...).Output()
	return bench.Result{Stdout: bytes.ReplaceAll(out, []byte(m.root), nil)}, err
}

// The script for guests finds the same as the host finds in its files.
func TestKernelOf(t *testing.T) {
	const (
		xeNotes   = "/sys/module/xe/notes/.note.gnu.build-id"
		vfioNotes = "/sys/module/xe_vfio_pci/notes/.note.gnu.build-id"
	)
	files := map[string]string{
		"/proc/sys/kernel/osrelease": "7.3.4\n",
		"/proc/sys/kernel/version":   "#5 SMP PREEMPT_DYNAMIC\n",
		"/proc/cmdline":              "kmemleak=on quiet\n",
		"/proc/version":              "Linux version 7.3.4\n",
		"/proc/lockdep_chains":       "all lock chains:\n",
		"/proc/cpuinfo":              "processor\t: 0\nmicrocode\t: 0x2b000603\nflags\t: fpu\n",
		"/sys/kernel/notes": string(
			slices.Concat(note("Xen\x00", 6, "Linux\x00"), note("GNU\x00", 3, testBuildID)),
		),
		"/sys/module/xe/srcversion":          "A1B2C3\n",
		xeNotes:                              string(note("GNU\x00", 3, "\n\nabc")),
		"/sys/module/xe_vfio_pci/srcversion": "D4\n",
		"/sys/module/other/srcversion":       "E5\n",
		"/boot/config-7.3.4":                 debugConfig,
		"/lib/modules/7.3.4/config":          "CONFIG_UBSAN=y\n",
		vfioNotes + "/dir":                   "",
	}
	m := &shellMachine{root: t.TempDir()}
	for path, text := range files {
		if err := os.MkdirAll(m.root+path[:strings.LastIndex(path, "/")], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(m.root+path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	delete(files, vfioNotes+"/dir")
	got, err := KernelOf(t.Context(), m, "xe", "xe-vfio-pci", "nothing")
	if err != nil {
		t.Fatal(err)
	}
	if m.runs != 1 {
		t.Errorf("%d commands", m.runs)
	}
	want := Kernel{
		Release: "7.3.4", Version: "#5 SMP PREEMPT_DYNAMIC", BuildID: "85c7e4e2ed76f4417e8aaad7c6b040d2bb897a26",
		Microcode: "0x2b000603",
		Modules:   []KernelModule{{"xe", "A1B2C3", "0a0a616263"}, {"xe_vfio_pci", "D4", ""}},
		Debug:     DebugOptions{On: []string{"DRM_XE_DEBUG", "KASAN", "PROVE_LOCKING", "DEBUG_KMEMLEAK"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("by the script %+v\nwant %+v", got, want)
	}
	if got := kernelFrom(filesReader(files), []string{"xe", "xe-vfio-pci", "nothing"}); !reflect.DeepEqual(got, want) {
		t.Errorf("by the files %+v\nwant %+v", got, want)
	}
	facts := []Fact{
		{"kernel", "7.3.4"},
		{"kernel version", "#5 SMP PREEMPT_DYNAMIC"},
		{"kernel build id", "85c7e4e2ed76f4417e8aaad7c6b040d2bb897a26"},
		{"kernel debug options", "DRM_XE_DEBUG, KASAN, PROVE_LOCKING, DEBUG_KMEMLEAK"},
		{"microcode", "0x2b000603"},
		{"xe srcversion", "A1B2C3"},
		{"xe build id", "0a0a616263"},
		{"xe_vfio_pci srcversion", "D4"},
	}
	if !slices.Equal(got.Facts(), facts) {
		t.Errorf("%q", got.Facts())
	}

	// A machine that has none of the files.
	empty, err := KernelOf(t.Context(), &shellMachine{root: t.TempDir()}, "xe")
	if err != nil || empty.Release != "" || len(empty.Debug.Unknown) != len(timingOptions) {
		t.Errorf("%+v, %v", empty, err)
	}
}

func TestKernelOfFails(t *testing.T) {
	for _, out := range []string{"", "\n\x01vmtb /proc/version\nLinux", "sh: not found\n"} {
		if _, err := parseKernelFiles([]byte(out)); err == nil {
			t.Errorf("%q is accepted", out)
		}
	}
}

func FuzzParseKernelFiles(f *testing.F) {
	f.Add([]byte("\n\x01vmtb /proc/version\nLinux\n\x01vmtb /a\n\n\x01vmtb end\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		files, err := parseKernelFiles(out)
		if err != nil {
			return
		}
		size := 0
		for path, data := range files {
			size += len(data)
			if !strings.HasPrefix(path, "/") {
				t.Errorf("%q", path)
			}
		}
		if size > len(out) {
			t.Errorf("%d bytes of %d", size, len(out))
		}
		kernelFrom(func(path string) ([]byte, error) {
			if data, ok := files[path]; ok {
				return data, nil
			}
			return nil, fs.ErrNotExist
		}, []string{"xe"})
	})
}
