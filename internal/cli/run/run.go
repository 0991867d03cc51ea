package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/klog"
	"vmtb/bench/vm"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/internal/cli/guestkernel"
	"vmtb/internal/kernelwatch"
)

// options are the flags of "vmtb run".
type options struct {
	flows.RunOptions
	recover bool
	keep    bool
}

// Command returns "vmtb run".
func Command(e *env.Env) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "run [selection...]",
		Short: "Run flows on this machine",
		Long: `Runs the selected flows, or all flows, on this machine, and restores the machine afterwards.

` + flows.SelectionHelp,
		Example: `  vmtb run -v --vm-image=guest_os.img 'test_basic::TestVmSetup::test_vm_boot[1VF]'
  vmtb run --vm-image=guest_os.img test_basic`,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: flows.CompleteSelection(e),
		RunE: func(cmd *cobra.Command, selection []string) error { return o.run(cmd.Context(), e, selection) },
	}
	o.ConfigFlags.Add(cmd)
	o.AddKernel(cmd, "guest-")
	o.ReportFlags.Add(cmd)
	o.AddRun(cmd)
	cmd.Flags().BoolVar(
		&o.Destructive, "destructive", false,
		"run cases that harm a machine in use, and, if selected by name, cases known to crash the kernel",
	)
	cmd.Flags().BoolVar(
		&o.keep, "keep-on-failure", false,
		"end the run when a flow has failed, and keep its machines up for \"vmtb vm\" until \"vmtb vm off --all\"",
	)
	cmd.Flags().BoolVar(&o.recover, "recover", false, "first restore the host if a run that died left changes")
	return cmd
}

func (o *options) run(ctx context.Context, e *env.Env, selection []string) error {
	if err := o.Check(); err != nil {
		return err
	}
	if o.Collect {
		list := flows.ListOptions{SelectionFlags: o.SelectionFlags, JSON: o.JSON}
		return list.Run(e, selection)
	}
	plan, err := o.Plan(e, selection)
	if err != nil {
		return err
	}
	if o.DryRun {
		return flows.DryRun(e, plan.Items, plan.Notes, plan.Config, o.JSON)
	}
	if o.keep && !isKeptRun() {
		return runKept()
	}
	claim := hostClaim{command: "vmtb run", items: plan.Items, config: plan.Config, mayRecover: o.recover}
	unlock, err := claim.lock(ctx, e)
	if err != nil {
		return err
	}
	unlock = sync.OnceFunc(unlock)
	defer unlock()
	keepFiles, err := guestkernel.Prepare(ctx, e, plan.Config, "--guest-kernel")
	if err != nil {
		return err
	}
	defer keepFiles()
	var release func()
	if o.keep {
		release = unlock
	}
	dir, err := flows.NewRunDir(o.Dir, "")
	if err != nil {
		return err
	}
	flowOptions, err := newFlowOptions(e, dir, plan.Config)
	if err != nil {
		return err
	}
	stopWatch := watchKernels(ctx, e, &flowOptions, plan.Rules)
	defer stopWatch()
	flowOptions.Timeout, flowOptions.Argv = o.Timeout, o.Argv
	flowOptions.Notes = append(notesOf(plan), flowOptions.Notes...)
	flowOptions.Policy, flowOptions.KernelLogRules = o.Policy, plan.RawRules
	begin := func(ctx context.Context, options flow.Options) (flow.Summary, error) {
		options.Environment = environment(ctx, host.New(e.System), plan.Config)
		return flow.Run(ctx, plan.Items, options)
	}
	return perform(ctx, e, flowOptions, o.ReportFlags, release, begin)
}

// notesOf returns the notes of a plan, and notes about its configuration.
func notesOf(plan *flows.Plan) []string {
	notes := plan.Notes
	if plan.ConfigFile != "" {
		notes = append(notes, "configuration: "+plan.ConfigFile)
	}
	if plan.Config.WorkloadScale != 1 {
		notes = append(notes, fmt.Sprintf("amounts of work: x %v", plan.Config.WorkloadScale))
	}
	return notes
}

// watchKernels watches the kernels during a run, until stop is called.
func watchKernels(ctx context.Context, e *env.Env, options *flow.Options, rules klog.Rules) (stop func()) {
	// Also while an interrupted run tears down.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w, note := kernelwatch.Start(ctx, host.New(e.System), rules)
	if note != "" {
		options.Notes = append(options.Notes, note)
	}
	options.Watch = w
	return func() {
		cancel()
		if err := w.Close(); err != nil {
			fmt.Fprintf(e.Err, "vmtb: %s\n", ansi.Printable(err.Error()))
		}
	}
}

// perform calls begin, which runs flows. It shows the run to the user, and handles interrupts. With
// --keep-on-failure, release unlocks the host; otherwise it is nil.
func perform(
	ctx context.Context, e *env.Env, options flow.Options, o flows.ReportFlags, release func(),
	begin func(context.Context, flow.Options) (flow.Summary, error),
) error {
	notices := e.Err
	if o.CalledAs != "" { // the "vmtb lab run" that the user interrupted prints them
		notices = io.Discard
	}
	ctx, kill, stop := env.EndInOrder(ctx, notices)
	defer stop()
	options.Kill = kill
	endReport, err := addReport(e, &options, o)
	if err != nil {
		return err
	}
	var k *failureKeeper
	if release != nil {
		k, ctx = newFailureKeeper(ctx, e, &options, func() error { return endReports(e, options.Dir, o, endReport) })
	}
	summary, err := begin(ctx, options)
	if k != nil && k.reported.Load() {
		return ended(e, summary, err, k.finish(summary, err, o.Specs, release))
	}
	if summary.Total == 0 {
		return ended(e, summary, err, endReport())
	}
	return ended(e, summary, err, endReports(e, options.Dir, o, endReport))
}

// endReports ends the reports of a run in dir, and prints their paths.
func endReports(e *env.Env, dir string, o flows.ReportFlags, endReport func() error) error {
	err := endReport()
	printReports(e, dir, o)
	return err
}

// ended returns the error of the program for the end of a run. If writing the journal failed (err),
// that decides the exit code; the results so far do not. If a report could not be written, ended
// prints the error. That decides the exit code only if everything else succeeded.
func ended(e *env.Env, summary flow.Summary, err, reportErr error) error {
	if reportErr != nil {
		reportErr = &bench.InfraError{Op: "write the reports", Err: reportErr, Advice: "vmtb report writes them again"}
	}
	if err != nil && summary.Total == 0 { // the run has not begun
		return errors.Join(err, reportErr)
	}
	if err != nil {
		fmt.Fprintf(e.Err, "vmtb: %s\n", ansi.Printable(err.Error()))
		summary.Stopped = err.Error()
	}
	code := summary.ExitCode()
	if code == flow.ExitPass {
		return reportErr
	}
	if reportErr != nil {
		fmt.Fprintf(e.Err, "vmtb: %s\n", ansi.Printable(reportErr.Error()))
	}
	return env.ExitCode(code)
}

// newFlowOptions returns the options that every run in dir needs.
func newFlowOptions(e *env.Env, dir string, config *bench.Config) (flow.Options, error) {
	var err error
	if config.Guest.OSImage != "" { // the run may be resumed in another working directory
		config.Guest.OSImage, err = filepath.Abs(config.Guest.OSImage)
	}
	raw, err2 := json.Marshal(config)
	if err := errors.Join(err, err2); err != nil {
		return flow.Options{}, err
	}
	h := host.New(e.System)
	resources, roster := &flow.Resources{}, &vm.Roster{}
	flow.Provide(resources, roster)
	flow.Provide(resources, config)
	flow.Provide(resources, h)
	flow.Provide(resources, e.State.Warm)
	flow.Provide(resources, e.State.Boots)
	return flow.Options{
		Dir: dir, Version: e.Version, DUT: h.Describe(), Argv: os.Args, Config: raw,
		TimeoutScale: config.TimeoutScale, Resources: resources, Evidence: evidenceOf(roster),
		OpenUndo: e.OpenUndo, Reboot: h.Reboot,
	}, nil
}
