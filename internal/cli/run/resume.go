package run

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/internal/cli/guestkernel"
	"vmtb/internal/kernelwatch"
)

// resumeOptions are the flags of "vmtb resume".
type resumeOptions struct {
	flows.ReportFlags
	recover         bool
	rerunIncomplete bool
}

// ResumeCommand returns "vmtb resume".
func ResumeCommand(e *env.Env) *cobra.Command {
	var o resumeOptions
	cmd := &cobra.Command{
		Use:   "resume DIR",
		Short: "Continue a run that did not finish",
		Long: `Continues the run in the run directory DIR after it died, was interrupted, or rebooted the host:
restores the host, keeps the results, and runs the rest of the plan, with the options of that run. A flow that
did not finish counts as incomplete and does not run again, because it may have crashed the host.
If the host crashed in the set-up, reset or tear-down of a fixture, the flows of that fixture do not run again
either. "vmtb help resume-and-recover" has more.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: env.CompleteDir,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), e, args[0]) },
	}
	o.Add(cmd)
	cmd.Flags().BoolVar(
		&o.recover, "recover", false, "first restore the host if another run that died left changes",
	)
	cmd.Flags().BoolVar(
		&o.rerunIncomplete, "rerun-incomplete", false,
		"also run the flows again that did not finish, even if they may have crashed the host",
	)
	return cmd
}

func (o *resumeOptions) run(ctx context.Context, e *env.Env, dir string) error {
	if err := o.Check(); err != nil {
		return err
	}
	dir = flows.RunDirIn(dir)
	run, err := flow.OpenRun(dir)
	if err != nil {
		return &bench.UsageError{Err: err}
	}
	config := bench.DefaultConfig()
	if len(run.Info.Config) > 0 {
		err = json.Unmarshal(run.Info.Config, config)
	}
	infoFile := filepath.Join(run.Info.Dir, "run.json")
	if err != nil {
		return &bench.UsageError{Err: fmt.Errorf("%s: config: %w", infoFile, err)}
	}
	rules, err := kernelwatch.ParseRules("", run.Info.KernelLogRules)
	if err != nil {
		return fmt.Errorf("%s: kernel_log_rules: %w", infoFile, err)
	}
	if err := e.State.CheckResumable(run.Info.Dir); err != nil {
		return err
	}
	claim := hostClaim{
		command: "vmtb resume", items: run.Info.Plan, config: config, mayRecover: o.recover, resumed: run.Info.Dir,
	}
	unlock, err := claim.lock(ctx, e)
	if err != nil {
		return err
	}
	defer unlock()
	keepFiles, err := guestkernel.Prepare(ctx, e, config, "--guest-kernel")
	if err != nil {
		return err
	}
	defer keepFiles()
	options, err := newFlowOptions(e, run.Info.Dir, config)
	if err != nil {
		return err
	}
	stopWatch := watchKernels(ctx, e, &options, rules)
	defer stopWatch()
	options.RerunIncomplete = o.rerunIncomplete
	begin := func(ctx context.Context, options flow.Options) (flow.Summary, error) {
		started := options.Started
		options.Started = func(info flow.Info) {
			started(info)
			for past, err := range run.Past() {
				if err != nil {
					fmt.Fprintf(e.Err, "vmtb: the reports lack the earlier results: %s\n", ansi.Printable(err.Error()))
					return
				}
				options.Observer(past)
			}
		}
		return flow.Resume(ctx, e.Registry.Items(), options)
	}
	return perform(ctx, e, options, o.ReportFlags, nil, begin)
}
