package vfio_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"vmtb/bench/vfio"
)

// The rules of bench/xe/contract test the operations that need a device, in the lab.

func TestOpenNothing(t *testing.T) {
	const group = 1 << 30
	d, err := vfio.Open(group, "0000:ff:1f.7")
	if d != nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("got %v, %v", d, err)
	}
	for _, noun := range []string{"0000:ff:1f.7", "group 1073741824", "/dev/vfio/"} {
		if !strings.Contains(err.Error(), noun) {
			t.Errorf("%v does not say %q", err, noun)
		}
	}
}

func TestStateNames(t *testing.T) {
	for state, want := range map[vfio.State]string{
		vfio.Error: "ERROR", vfio.StopCopy: "STOP_COPY", vfio.RunningP2P: "RUNNING_P2P", vfio.PreCopy: "PRE_COPY",
		99: "state 99",
	} {
		if got := state.String(); got != want {
			t.Errorf("%d is %q, want %q", uint32(state), got, want)
		}
	}
}
