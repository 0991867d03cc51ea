//go:build integration

package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"vmtb/bench/keep"
)

// TestIntegrationScripts runs "vmtb vm" with the real QEMU and the lab's guest, whose path is in
// VMTB_TEST_IMAGE.
func TestIntegrationScripts(t *testing.T) {
	image := os.Getenv("VMTB_TEST_IMAGE")
	if image == "" {
		t.Fatal("VMTB_TEST_IMAGE does not name a guest image; make integration does that")
	}
	p := params("testdata/integration")
	p.Deadline = time.Now().Add(20 * time.Minute) // an image is built, on a busy machine in ten
	sandbox := p.Setup
	p.Setup = func(env *testscript.Env) error {
		env.Setenv("VMTB_TEST_IMAGE", image)
		// It has no dynamic libraries, as the init program of a guest must be. The scripts' own vmtb is a
		// test program.
		program, err := filepath.Abs("../../bin/vmtb")
		if err != nil {
			return err
		}
		env.Setenv("VMTB_BIN", program)
		env.Defer(func() { endMachines(t, filepath.Join(env.WorkDir, "state", "machines")) })
		return sandbox(env)
	}
	testscript.Run(t, p)
}

// endMachines ends the machines of a script that failed.
func endMachines(t *testing.T, dir string) {
	t.Helper()
	s := keep.Store{Dir: dir}
	records, err := s.List()
	if err != nil {
		t.Error(err)
	}
	for _, r := range records {
		if c, err := s.Open(r.Name); err == nil {
			t.Errorf("machine %s was left", r.Name)
			if err := c.Kill(context.Background(), nil); err != nil {
				t.Error(err)
			}
		}
	}
}
