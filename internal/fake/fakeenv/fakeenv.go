package fakeenv

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"vmtb/bench/host"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/hoststate"
)

// New returns an Env with a state below dir, and the buffers of its two output streams.
func New(dir string, sys host.System) (e *env.Env, out, errs *bytes.Buffer) {
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	return &env.Env{
		In: os.Stdin, Out: out, Err: errs, Registry: flow.NewRegistry(), System: sys, Version: "test",
		State: hoststate.In(filepath.Join(dir, "vmtb.lock"), dir),
	}, out, errs
}

// Shm returns a directory in memory, where syncing is fast, if there is one.
func Shm(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vmtb-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
