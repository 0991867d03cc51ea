package run

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"vmtb/flow"
	"vmtb/internal/cli/env"
)

func TestEnded(t *testing.T) {
	full := errors.New("no space left on device")
	for name, c := range map[string]struct {
		summary flow.Summary
		err     error
		want    error
	}{
		"passed": {flow.Summary{Total: 1, Counts: map[flow.Result]int{flow.Pass: 1}}, nil, nil},
		"failed": {
			flow.Summary{Total: 1, Counts: map[flow.Result]int{flow.Fail: 1}}, nil, env.ExitCode(flow.ExitFail),
		},
		"no room to begin": {flow.Summary{}, full, full},
		"no room to go on": {
			flow.Summary{Total: 2, Counts: map[flow.Result]int{flow.Fail: 1}}, full, env.ExitCode(flow.ExitAborted),
		},
		"nor was it undone": {
			flow.Summary{Total: 2, Unrestored: "EBUSY"}, full, env.ExitCode(flow.ExitNotRestored),
		},
		"and the user had enough": {flow.Summary{Total: 2, Interrupt: true}, full, env.ExitCode(flow.ExitInterrupted)},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			e := &env.Env{Err: &out}
			if got := ended(e, c.summary, c.err, nil); !errors.Is(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if said := strings.Contains(out.String(), full.Error()); said != (c.err != nil && c.summary.Total > 0) {
				t.Errorf("said %q", out.String())
			}
		})
	}
}
