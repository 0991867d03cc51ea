package flows

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/internal/cli/env"
)

// RunOptions are the flags that "vmtb run" and "vmtb lab run" share.
type RunOptions struct {
	env.ConfigFlags
	SelectionFlags
	PolicyFlags
	ReportFlags
	Rules   string
	Dir     string
	Timeout time.Duration
	DryRun  bool
}

// AddRun adds the flags that say what to run, and where.
func (o *RunOptions) AddRun(cmd *cobra.Command) {
	o.SelectionFlags.Add(cmd)
	o.PolicyFlags.Add(cmd)
	o.AddWarm(cmd)
	cmd.Flags().StringVar(
		&o.Rules, "kernel-log-rules", "", "JSON file with rules for kernel messages, before the built-in ones",
	)
	cmd.Flags().BoolVar(
		&o.DryRun, "dry-run", false,
		"show the plan: fixtures, their needs, deadlines, flows; run and change nothing",
	)
	cmd.Flags().DurationVar(
		&o.Timeout, "timeout", 0,
		"end the run in order after this `time`, like 90m; --timeout-scale does not multiply it (default: never)",
	)
	cmd.Flags().StringVar(
		&o.Dir, "run-dir", "",
		"run directory; must be new or empty (default: vmtb-results/TIME)",
	)
}

// Check returns an error for invalid values, and sets the fields that are not flags.
func (o *RunOptions) Check() error {
	if o.Timeout < 0 {
		return &bench.UsageError{Err: fmt.Errorf("--timeout=%v: want more than 0", o.Timeout)}
	}
	if err := errors.Join(o.ReportFlags.Check(), o.PolicyFlags.Check()); err != nil {
		return err
	}
	return o.checkPlaces()
}

// checkPlaces checks that the run directory can be created, and that the reports can be written. It
// leaves no files behind.
func (o *RunOptions) checkPlaces() error {
	if o.Dir != "" {
		if err := CheckRunDir(o.Dir); err != nil {
			return err
		}
	}
	return o.CheckTargets(o.Dir)
}
