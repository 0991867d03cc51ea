package vmtb

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
)

// policyFlags say what a run does about results; docs/run-policy.md is about them.
type policyFlags struct {
	flow.Policy
	quarantine string
	exitFirst  bool
}

func (f *policyFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&f.RerunFailed, "rerun-failed", 0, "rerun a failed flow up to `N` times, each time with a new fixture; the last result counts")
	flags.IntVar(&f.Repeat, "repeat", 1, "run each fixture with its flows `N` times, or until one of the flows fails")
	flags.StringSliceVar(&f.AbortOn, "abort-on", nil, "end the run on a `result` (fail, timeout, error, incomplete, dmesg-fail, dmesg-warn) or a new taint or lockdep report (taint, lockdep)")
	flags.IntVar(&f.MaxFail, "maxfail", 0, "end the run when `N` flows have failed (default: never)")
	flags.BoolVarP(&f.exitFirst, "exitfirst", "x", false, "end the run when a flow has failed: --maxfail=1")
	flags.StringVar(&f.quarantine, "quarantine", "", "JSON file with flows whose results do not count for the exit code")
}

// args are the flags again, for a vmtb that is started with them; quarantine is where the file is for that one.
func (f *policyFlags) args(quarantine string) []string {
	args := []string{"--rerun-failed", strconv.Itoa(f.RerunFailed), "--repeat", strconv.Itoa(f.Repeat)}
	if f.MaxFail > 0 {
		args = append(args, "--maxfail", strconv.Itoa(f.MaxFail))
	}
	if len(f.AbortOn) > 0 {
		args = append(args, "--abort-on", strings.Join(f.AbortOn, ","))
	}
	if quarantine != "" {
		args = append(args, "--quarantine", quarantine)
	}
	return args
}

// check refuses what does not make sense, without looking at files.
func (f *policyFlags) check() error {
	if f.exitFirst && f.MaxFail == 0 {
		f.MaxFail = 1
	}
	if f.Repeat < 1 {
		return &bench.UsageError{Err: fmt.Errorf("--repeat %d: want 1 or more", f.Repeat)}
	}
	return f.Check()
}

// plan marks the items of a selection that are in quarantine, and notes what is to be said about that.
func (a *app) plan(items []flow.Item, f policyFlags) (notes []string, err error) {
	if f.quarantine == "" {
		return nil, nil
	}
	data, err := os.ReadFile(f.quarantine)
	if err != nil {
		return nil, &bench.UsageError{Err: fmt.Errorf("quarantine file: %w", err)}
	}
	list, err := flow.ParseQuarantine(f.quarantine, data)
	if err != nil {
		return nil, err
	}
	return a.Registry.Quarantine(items, list, time.Now())
}
