package lab

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/flow"
	"vmtb/imagebuild"
	"vmtb/internal/cli/env"
)

// git bisect run ends at codes from 128 on, and takes 1 to 124 for bad: an error of vmtb itself must
// not be one of these.
func TestBisectVerdict(t *testing.T) {
	late := &bench.GuestError{Machine: "dut", Op: "boot", Err: errors.New("no agent")}
	panicked := &bench.GuestError{Machine: "dut", Op: "run", Err: vm.ErrPanic}
	for _, c := range []struct {
		err    error
		booted bool
		want   int
	}{
		{nil, true, 0},
		{env.ExitCode(flow.ExitFail), true, 1},
		{env.ExitCode(flow.ExitError), true, 125},
		{env.ExitCode(flow.ExitAborted), true, 125},
		{env.ExitCode(flow.ExitNotRestored), true, 125},
		{env.ExitCode(flow.ExitUsage), true, 129},
		{env.ExitCode(flow.ExitNoMatch), false, 129},
		{env.ExitCode(flow.ExitInterrupted), true, 130},
		{context.Canceled, true, 130},
		{&bench.UsageError{Err: errors.New("no such flag")}, false, 129},
		{&bench.UsageError{Err: fmt.Errorf("tree: %w", imagebuild.ErrNotBuilt)}, false, 125},
		{&bench.UsageError{Err: fmt.Errorf("tree: %w", imagebuild.ErrUnfit)}, false, 125},
		{&bench.InfraError{Op: "boot the DUT", Err: late}, false, 125},
		{&bench.InfraError{Op: "boot the DUT", Err: panicked}, false, 125},
		{errors.Join(&bench.InfraError{Op: "run vmtb in the DUT", Err: panicked}, errors.New("more")), true, 1},
		{&bench.InfraError{Op: "run vmtb in the DUT", Err: errors.New("QEMU ended: signal 9")}, true, 129},
		{&bench.InfraError{Op: "boot the DUT", Err: errors.New("QEMU ended: signal 9")}, false, 129},
		{&bench.InfraError{Op: "build the lab's image", Err: unix.ENOSPC}, false, 129},
		{bisectResult{bisectBad, "x"}, true, 1},
	} {
		if got := bisectVerdict(c.err, c.booted); got.code != c.want {
			t.Errorf("%v, booted %t: exit code %d (%s), want %d", c.err, c.booted, got.code, got.why, c.want)
		}
	}
}
