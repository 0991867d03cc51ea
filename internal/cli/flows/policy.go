package flows

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/cli/env"
)

// PolicyFlags choose how a run treats results: see docs/run-policy.md.
type PolicyFlags struct {
	flow.Policy
	Quarantine string
	exitFirst  bool
}

// Add adds all these flags.
func (f *PolicyFlags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(
		&f.RerunFailed, "rerun-failed", 0,
		"rerun a failed flow up to `N` times, each time with a new fixture; the last result counts",
	)
	flags.IntVar(&f.Repeat, "repeat", 1, "run each fixture with its flows `N` times, or until one of the flows fails")
	flags.StringSliceVar(
		&f.AbortOn, "abort-on", nil,
		"end the run on a `result` (fail, timeout, error, incomplete, dmesg-fail, dmesg-warn) "+
			"or a new taint or lockdep report (taint, lockdep)",
	)
	flags.IntVar(&f.MaxFail, "maxfail", 0, "end the run when `N` flows have failed (default: never)")
	flags.BoolVarP(&f.exitFirst, "exitfirst", "x", false, "end the run when a flow has failed: --maxfail=1")
	flags.StringVar(
		&f.Quarantine, "quarantine", "", "JSON file with flows whose results do not count for the exit code",
	)
	env.CompleteValues(cmd, map[string][]string{"abort-on": flow.AbortWords})
}

// Check returns an error for invalid values. It reads no files.
func (f *PolicyFlags) Check() error {
	if f.exitFirst && f.MaxFail == 0 {
		f.MaxFail = 1
	}
	if f.Repeat < 1 {
		return &bench.UsageError{Err: fmt.Errorf("--repeat %d: want 1 or more", f.Repeat)}
	}
	return f.Policy.Check()
}

// MarkQuarantine marks the items that are in quarantine. notes are lines for the user.
func (f *PolicyFlags) MarkQuarantine(e *env.Env, items []flow.Item) (notes []string, err error) {
	if f.Quarantine == "" {
		return nil, nil
	}
	data, err := os.ReadFile(f.Quarantine)
	if err != nil {
		return nil, &bench.UsageError{Err: fmt.Errorf("quarantine file: %w", err)}
	}
	list, err := flow.ParseQuarantine(f.Quarantine, data)
	if err != nil {
		return nil, err
	}
	return e.Registry.Quarantine(items, list, time.Now())
}
