package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"vmtb/bench"
)

// pick returns the lines that are in wanted.
func pick(lines, wanted []string) (picked []string) {
	for _, line := range lines {
		if slices.Contains(wanted, line) {
			picked = append(picked, line)
		}
	}
	return picked
}

// A machine with a state goes on from it on the first start only: later, its disks have other
// contents.
func TestSpecState(t *testing.T) {
	p := migrants(t, "agent")
	spec, file := p.from.spec, filepath.Join(filepath.Dir(p.log), "state")
	_, err := p.from.StateFiles().Save(t.Context(), file)
	must(t, err)
	spec.State, spec.Disks = file, nil
	spec.VFs = []VF{{Host: "0000:03:00.1", WindowMiB: 32}, {Host: "0000:03:00.2"}}
	before := len(p.commands(t))
	m, err := Start(t.Context(), spec, p.from.opts)
	must(t, err)
	if !m.Warm() {
		t.Error("it does not say that it went on from a state")
	}
	want := "to device_add,to device_add,to cont,to exec sh 2"
	if did := strings.Join(pick(p.commands(t)[before:], strings.Split(want, ",")), ","); did != want {
		t.Errorf("QEMU was told %s, want %s", did, want)
	}
	if args := strings.Join(m.argv, " "); strings.Contains(args, "vfio-pci") ||
		!strings.Contains(args, "id=vf0-port,chassis=1,slot=1,pref64-reserve=32M ") {
		t.Errorf("started with %s: want the root ports of its VFs, and no VF", args)
	}
	must(t, m.WaitReady(t.Context()))
	if s, err := m.State(t.Context()); err != nil || s != Running {
		t.Errorf("%v, %v; want %v", s, err, Running)
	}
	must(t, m.Power().Quit(t.Context()))
	m, err = m.Again(t.Context(), ModePaused)
	must(t, err)
	if args := strings.Join(m.argv, " "); m.Warm() ||
		!strings.Contains(args, "-device vfio-pci,host=0000:03:00.2,id=vf1,bus=vf1-port") {
		t.Errorf("started again with %s (warm: %t): want the VFs", args, m.Warm())
	}
	defer func() { must(t, m.Close(context.Background())) }()
	if s, err := m.State(t.Context()); err != nil || s != Prelaunch {
		t.Errorf("started again: %v, %v; want %v", s, err, Prelaunch)
	}

	spec.State += "-gone"
	if _, err := Start(t.Context(), spec, p.from.opts); !errors.As(err, new(*bench.UsageError)) ||
		!strings.Contains(err.Error(), spec.State) {
		t.Errorf("without the file: %v", err)
	}
	must(t, os.WriteFile(spec.State, []byte("half"), 0o600))
	if _, err := Start(t.Context(), spec, p.from.opts); err == nil || !strings.Contains(err.Error(), "half a state") {
		t.Errorf("with half a state: %v", err)
	}
}

// A machine does not start if it gets no VF, or if its guest cannot be given a new identity.
func TestGoOnFails(t *testing.T) {
	for words, want := range map[string]string{
		"to:refuse:device_add:2": "plug in VF 0000:03:00.2: .*the test says no",
		"false":                  "continue from a saved state: .*exit code 1",
	} {
		p := migrants(t, "agent "+words)
		spec, file := p.from.spec, filepath.Join(filepath.Dir(p.log), "state")
		_, err := p.from.StateFiles().Save(t.Context(), file)
		must(t, err)
		spec.State, spec.Disks = file, nil
		spec.VFs = []VF{{Host: "0000:03:00.1"}, {Host: "0000:03:00.2"}}
		m, err := Start(t.Context(), spec, p.from.opts)
		if err == nil {
			must(t, m.Close(context.Background()))
		}
		if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
			t.Errorf("%s: %v, want %s", words, err, want)
		}
	}
}

// TestWarmBootID: a warm boot id is a new UUID that begins with "warm".
func TestWarmBootID(t *testing.T) {
	want := regexp.MustCompile(`^7761726d-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	a, b := warmBootID(), warmBootID()
	if !want.MatchString(a) || !want.MatchString(b) || a == b {
		t.Errorf("%s, %s", a, b)
	}
}
