package run

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/internal/prose"
)

// mergeOptions are the flags of "vmtb merge".
type mergeOptions struct {
	reportOptions
	out      string
	expect   []string
	extra    []string
	exitCode bool
}

// MergeCommand returns "vmtb merge".
func MergeCommand(e *env.Env) *cobra.Command {
	var o mergeOptions
	cmd := &cobra.Command{
		Use:   "merge DIR... -o DIR",
		Short: "Merge the run directories of shards, attempts and DUTs into one",
		Long: `Copies the run directories DIR into a new one, and makes its reports, as "vmtb report" does. It is
a run directory like any other: all reports, --compare and --last-failed work on it. The order of the
arguments does not matter. A flow with several attempts has the result of the last one; a run that was killed
keeps what it had done. Reports say which DUT ran which flow, and which DUTs did not finish. "vmtb help
merge" has more.`,
		Example: `  vmtb merge -o all shard-*
  vmtb merge -o all --expect=bmg-03,bmg-07 --report=html --report=junit:junit.xml shard-*`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: env.CompleteDirs,
		RunE: func(cmd *cobra.Command, dirs []string) error { return o.run(cmd.Context(), e, dirs) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.out, "run-dir", "o", "", "the run directory to make; must be new or empty")
	flags.StringSliceVar(&o.expect, "expect", nil, "names of DUTs that are reported as missing if they have no DIR")
	flags.StringArrayVar(
		&o.extra, "extra", nil, "another `DIR`, whose results do not count; may be given several times",
	)
	flags.BoolVar(&o.exitCode, "exit-code", false, "end with the exit code of the merged run")
	o.OutputFlags.Add(cmd)
	o.AddLook(cmd)
	return cmd
}

func (o *mergeOptions) run(ctx context.Context, e *env.Env, dirs []string) error {
	if o.out == "" {
		return &bench.UsageError{Err: errors.New("vmtb merge needs -o DIR, the run directory to make")}
	}
	if err := o.Check(); err != nil {
		return err
	}
	ctx, stop := env.CancelOnInterrupt(ctx)
	defer stop()
	merge := flow.MergeOptions{Out: o.out, Expected: o.expect}
	for _, dir := range dirs {
		merge.Parts = append(merge.Parts, flow.Part{Dir: flows.RunDirIn(dir)})
	}
	for _, dir := range o.extra {
		merge.Parts = append(merge.Parts, flow.Part{Dir: flows.RunDirIn(dir), Extra: true})
	}
	for _, it := range e.Registry.Items() {
		merge.Order = append(merge.Order, it.ID)
	}
	var run *flow.RunDir
	err := e.Step("merge", "copying "+prose.Count(len(merge.Parts), "run"), func() (err error) {
		run, err = flow.Merge(ctx, merge)
		return err
	})
	if err != nil {
		return err
	}
	if err := o.reportOptions.run(e, run.Info.Dir); err != nil || !o.exitCode {
		return err
	}
	if end := run.Entries[len(run.Entries)-1]; end.ExitCode != nil && *end.ExitCode != flow.ExitPass {
		return env.ExitCode(*end.ExitCode)
	}
	return nil
}
