package lab

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/imagebuild"
	"vmtb/internal/cli/env"
)

// git bisect run ends at codes from 128 on, and takes 1 to 124 for bad: an error of vmtb itself must
// not be one of these.
func TestBisectVerdict(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{env.ExitCode(flow.ExitFail), 1},
		{env.ExitCode(flow.ExitError), 125},
		{env.ExitCode(flow.ExitAborted), 125},
		{env.ExitCode(flow.ExitNotRestored), 125},
		{env.ExitCode(flow.ExitUsage), 129},
		{env.ExitCode(flow.ExitNoMatch), 129},
		{env.ExitCode(flow.ExitInterrupted), 130},
		{context.Canceled, 130},
		{&bench.UsageError{Err: errors.New("no such flag")}, 129},
		{&bench.UsageError{Err: fmt.Errorf("tree: %w", imagebuild.ErrNotBuilt)}, 125},
		{&bench.InfraError{Op: "boot the DUT", Err: errors.New("no agent")}, 125},
		{bisectResult{bisectBad, "x"}, 1},
	} {
		if got := bisectVerdict(c.err); got.code != c.want {
			t.Errorf("%v: exit code %d (%s), want %d", c.err, got.code, got.why, c.want)
		}
	}
}
