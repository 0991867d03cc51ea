//go:build integration

package qga_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestIntegrationAgentFiles(t *testing.T) {
	ctx, c := agentClient(t)
	path := filepath.Join(t.TempDir(), "file")
	all := make([]byte, 3<<20+17)
	_, _ = rand.Read(all)
	for _, n := range []int{0, 1, 64 << 10, 64<<10 + 1, len(all)} {
		began := time.Now()
		if err := c.WriteFile(ctx, path, all[:n]); err != nil {
			t.Fatal(err)
		}
		wrote := time.Since(began)
		if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, all[:n]) {
			t.Errorf("wrote %d bytes: %d, %v", n, len(data), err)
		}
		began = time.Now()
		if data, err := c.ReadFile(ctx, path); err != nil || !bytes.Equal(data, all[:n]) {
			t.Errorf("read %d bytes: %d, %v", n, len(data), err)
		}
		t.Logf("%d bytes: written in %v, read in %v", n, wrote, time.Since(began))
	}
	for _, path := range []string{
		"/proc/self/status", "/proc/kallsyms", "/sys/kernel/mm/transparent_hugepage/enabled",
	} {
		want, err := os.ReadFile(path)
		got, gotErr := c.ReadFile(ctx, path)
		if err != nil || gotErr != nil || len(got) == 0 || path == "/proc/kallsyms" && len(got) != len(want) {
			t.Errorf("%s: %d bytes, %v, want %d, %v", path, len(got), gotErr, len(want), err)
		}
	}
	small := bytes.Repeat([]byte("x"), 100)
	for name, test := range map[string]struct {
		path string
		data []byte
		want error
		op   string
	}{
		"missing directory":  {"/no/such/file", nil, fs.ErrNotExist, "open"},
		"directory":          {"/tmp", nil, syscall.EISDIR, "open"},
		"full, at the flush": {"/dev/full", small, syscall.ENOSPC, "flush"},
		"full, at the write": {"/dev/full", all[:100000], syscall.ENOSPC, "write"},
		"refused by kernel":  {"/proc/sys/kernel/pid_max", []byte("-5\n"), syscall.EINVAL, "flush"},
	} {
		err := c.WriteFile(ctx, test.path, test.data)
		var at *fs.PathError
		if !errors.Is(err, test.want) || !errors.As(err, &at) || at.Op != test.op || at.Path != test.path {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if _, err := c.ReadFile(ctx, "/no/such/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := c.ReadFile(ctx, "/tmp"); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("directory: %v", err)
	}
}
