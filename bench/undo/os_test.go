package undo

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func sleeper(t *testing.T) (*exec.Cmd, Process) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p, err := ProcessOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, p
}

func TestKill(t *testing.T) {
	cmd, p := sleeper(t)
	if p.Comm != "sleep" || p.StartTime == 0 || p.BootID == "" {
		t.Errorf("ProcessOf: %+v", p)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, other := range []Process{
		{p.PID, p.StartTime + 1, p.Comm, p.BootID},
		{p.PID, p.StartTime, "qemu", p.BootID},
		{p.PID, p.StartTime, p.Comm, "another boot"},
	} {
		if err := other.Undo(ctx, OS{}); err != nil {
			t.Fatal(err)
		}
		if now, err := ProcessOf(p.PID); err != nil || now != p {
			t.Fatalf("a process that is not %+v was killed", other)
		}
	}
	if err := p.Undo(ctx, OS{}); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("Wait: %v", err)
	}
	if err := p.Undo(ctx, OS{}); err != nil { // the process is gone
		t.Errorf("a second time: %v", err)
	}
}

func TestFilesOfOS(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := (OS{}).WriteFile(file, []byte("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WriteFile made a file: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (OS{}).WriteFile(file, []byte("1")); err != nil {
		t.Fatal(err)
	}
	w := Write{Path: file, Old: "0", New: "1"}
	if err := w.Undo(t.Context(), OS{}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "0" {
		t.Errorf("after Undo: %q, %v", b, err)
	}
	if err := (OS{}).WriteFile("/dev/full", []byte("x")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write to a full device: %v", err)
	}
	for _, p := range []Path{{Path: file}, {Path: dir, Dir: true}} {
		for range 2 {
			if err := p.Undo(t.Context(), OS{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(p.Path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", p.Path)
		}
	}
	if err := (Module{Name: "no-such-module"}).Undo(t.Context(), OS{}); err != nil {
		t.Errorf("a module that is not loaded: %v", err)
	}
}
