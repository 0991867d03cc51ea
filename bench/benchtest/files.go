package benchtest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"testing"

	"vmtb/bench"
)

func testFiles(t *testing.T, m bench.Machine, dir string) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	contents := map[string][]byte{
		"a name with 'blanks'": []byte("x"), "bytes": all, "lines": bytes.Repeat([]byte("\r\n\x00\xff"), 5000),
	}
	for _, n := range []int{0, 1, 4095, 4096, 4097, 64<<10 - 1, 64 << 10, 64<<10 + 1, 3<<20 + 17} {
		contents[strconv.Itoa(n)] = pattern(n)
	}
	for name, data := range contents {
		file := dir + "/" + name
		for _, content := range [][]byte{slices.Concat(data, all), data} { // the second is shorter
			if err := m.WriteFile(t.Context(), file, content); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got, err := m.ReadFile(t.Context(), file); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: %d of %d bytes, or others, %v", name, len(got), len(content), err)
			}
		}
	}
	if err := m.WriteFile(t.Context(), "/dev/full", []byte("x")); err == nil {
		t.Error("a full disk is no error")
	}
	if err := m.WriteFile(t.Context(), dir, []byte("x")); err == nil {
		t.Error("a directory was written to")
	}
}

func testMissing(t *testing.T, m bench.Machine, dir string) {
	if _, err := m.ReadFile(t.Context(), dir+"/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile: %v", err)
	}
	if err := m.WriteFile(t.Context(), dir+"/none/file", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WriteFile: %v", err)
	}
	if _, err := m.ReadDir(t.Context(), dir+"/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadDir: %v", err)
	}
	if _, err := m.ReadFile(t.Context(), dir); err == nil {
		t.Error("ReadFile of a directory")
	}
	run(t, m, ": >"+dir+"/regular")
	if _, err := m.ReadDir(t.Context(), dir+"/regular"); err == nil {
		t.Error("ReadDir of a file")
	}
}

func testReadDir(t *testing.T, m bench.Machine, dir string) {
	dir += "/list"
	run(
		t, m,
		fmt.Sprintf(
			"mkdir %[1]s %[1]s/dir; cd %[1]s; : >file; : >.hidden; : >'a b*'; ln -s file link; ln -s none dangling; "+
				"mkfifo pipe", dir,
		),
	)
	want := []bench.DirEntry{
		{Name: ".hidden"},
		{Name: "a b*"},
		{Name: "dangling", Mode: fs.ModeSymlink},
		{Name: "dir", Mode: fs.ModeDir},
		{Name: "file"},
		{Name: "link", Mode: fs.ModeSymlink},
		{Name: "pipe", Mode: fs.ModeNamedPipe},
	}
	if got, err := m.ReadDir(t.Context(), dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := m.ReadDir(t.Context(), dir+"/dir"); err != nil || len(got) > 0 {
		t.Errorf("empty: %v, %v", got, err)
	}
}

// testProc tests that the kernel's files, whose size is 0, are read whole.
func testProc(t *testing.T, m bench.Machine, _ string) {
	if data, err := m.ReadFile(t.Context(), "/proc/kallsyms"); err != nil || len(data) < 100_000 {
		t.Errorf("/proc/kallsyms: %d bytes, %v", len(data), err)
	}
	if data, err := m.ReadFile(t.Context(), "/proc/sys/kernel/random/boot_id"); err != nil || len(data) != 37 {
		t.Errorf("boot_id %q, %v", data, err)
	}
}
