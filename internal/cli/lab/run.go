package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/lab"
	"vmtb/report"
)

func runCommand(e *env.Env, d *dutFlags) *cobra.Command {
	o := runOptions{dut: d}
	cmd := &cobra.Command{
		Use:   "run [selection...]",
		Short: "Run flows in the lab",
		Long: `Boots the emulated machine under test (DUT) and runs "vmtb run" in it. It builds the images first
if necessary. The run directory and the logs of the DUT are on this machine.

` + flows.SelectionHelp,
		Example: `  vmtb lab run -v test_basic::TestVmSetup`,
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: flows.CompleteSelection(e),
		RunE: func(cmd *cobra.Command, selection []string) error {
			o.forwarded = forwardArgs(cmd.Flags())
			return o.run(cmd.Context(), e, selection)
		},
	}
	o.AddLab(cmd)
	o.ReportFlags.AddShared(cmd)
	o.AddRun(cmd)
	return cmd
}

// runOptions are the flags of "vmtb lab run".
type runOptions struct {
	flows.RunOptions
	dut *dutFlags

	forwarded []string // flags for the run in the DUT, as the user gave them

	boot   bool   // boot the DUT even if a saved state could be used
	runDir string // set by run: of the run in the DUT
	booted bool   // set by run: the DUT has booted
}

func (o *runOptions) run(ctx context.Context, e *env.Env, selection []string) error {
	if err := errors.Join(o.Check(), o.dut.check()); err != nil {
		return err
	}
	plan, err := o.plan(e, selection)
	if err != nil {
		return err // nothing is built or booted yet
	}
	if o.Collect {
		list := flows.ListOptions{SelectionFlags: o.SelectionFlags, JSON: o.JSON}
		return list.Run(e, selection)
	}
	if o.DryRun {
		return flows.DryRun(e, plan.Items, plan.Notes, plan.Config, o.JSON)
	}
	if o.selectedHere() { // the DUT does not have the run directories of the selection
		selection = flows.Names(plan.Items)
	}
	return o.runPlan(ctx, e, plan, selection)
}

// runPlan builds the images, boots the DUT and runs the flows of a plan in it.
func (o *runOptions) runPlan(ctx context.Context, e *env.Env, plan *flows.Plan, selection []string) error {
	ctx, kill, stop := env.EndInOrder(ctx, e.Err)
	defer stop()
	o.dut.migration = o.dut.migration || slices.ContainsFunc(plan.Items, movesVFs)
	images, err := o.dut.buildImages(ctx, e)
	if err != nil {
		return err
	}
	dir, err := flows.NewRunDir(o.Dir, "-lab")
	if err != nil {
		return err
	}
	runDir := filepath.Join(dir, flows.LabRunName)
	o.runDir = runDir
	// a report that cannot be written is an error now, not after the run
	files, err := flows.OpenReports(e, runDir, append(report.Default(), o.Specs...), o.Earlier)
	if err != nil {
		return err
	}
	dut, err := lab.Start(ctx, lab.Options{
		Images: images, Dir: filepath.Join(dir, "dut"), Share: dir,
		GPUProperties: o.dut.properties, Cmdline: o.dut.parameters(),
		Progress: e.Progress("lab"), Boot: o.boot || o.dut.ownKernel(),
	})
	if err != nil {
		return errors.Join(err, files.Close())
	}
	o.booted = true
	go func() { // the second interrupt: nothing in the DUT must be restored
		select {
		case <-kill:
			// Close, below, returns the error, if any.
			_ = dut.Power().Kill(context.WithoutCancel(ctx))
		case <-dut.Done():
		}
	}()
	code, err := o.runInDUT(ctx, e, dut, dir, plan.Config, selection)
	select {
	case <-kill: // errors are due to the end of the DUT
		code, err = flow.ExitInterrupted, nil
	default:
	}
	closeErr := dut.Close(context.WithoutCancel(ctx))
	reportErr := writeReports(runDir, files)
	fmt.Fprintf(
		e.Err, "lab: run directory on this machine: %s; console and logs of the DUT: %s\n", runDir,
		filepath.Join(dir, "dut"),
	)
	if err != nil { // the exit code of the run is not known
		return errors.Join(err, closeErr, reportErr)
	}
	return ended(e, code, closeErr, reportErr)
}

// ended returns the error of the program for the exit code of a run in the lab. If a DUT did not
// end, or a report could not be written, ended prints the error. Such an error decides the exit
// code only if all flows passed.
func ended(e *env.Env, code int, errs ...error) error {
	err := errors.Join(errs...)
	if code == flow.ExitPass {
		return err
	}
	if err != nil {
		fmt.Fprintf(e.Err, "vmtb: %s\n", ansi.Printable(err.Error()))
	}
	return env.ExitCode(code)
}

// movesVFs reports whether a flow saves, restores or migrates VFs. It returns true for every flow
// of a file in which one class does.
func movesVFs(item flow.Item) bool {
	return slices.Contains([]string{"test_migration", "vm_state", "vm_robust"}, item.ID.File)
}

// plan is Plan, with deadlines for the lab unless the user gives others.
func (o *runOptions) plan(e *env.Env, selection []string) (*flows.Plan, error) {
	plan, err := o.Plan(e, selection)
	if err != nil {
		return nil, err
	}
	if plan.Config.Guest.Kernel != "" {
		return nil, &bench.UsageError{
			Err:    fmt.Errorf("%s: guest.kernel is for machines with a GPU", plan.ConfigFile),
			Advice: "in the lab, use --guest-kernel and --guest-cmdline",
		}
	}
	if !o.Given("timeout-scale") && plan.Config.TimeoutScale == 1 {
		speed, err := lab.MeasuredSpeed()
		if err != nil {
			return nil, err
		}
		plan.Config.TimeoutScale = speed.TimeoutScale()
	}
	return plan, nil
}

// writeReports writes the reports of a run in the lab on this machine. The DUT sees only the run
// directory, and may have died before it wrote any.
func writeReports(dir string, files flows.Reports) error {
	run, err := flow.OpenRun(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return files.Close() // no run has begun
	}
	if err != nil {
		return errors.Join(&bench.InfraError{Op: "read the run directory", Err: err}, files.Close())
	}
	if err := report.Replay(files, run); err != nil {
		return &bench.InfraError{Op: "write the reports", Err: err, Advice: "vmtb report writes them again"}
	}
	return nil
}

// runInDUT runs vmtb in the DUT, and then looks for changes that the run has left there.
func (o *runOptions) runInDUT(
	ctx context.Context, e *env.Env, dut *lab.DUT, dir string, c *bench.Config, selection []string,
) (code int, err error) {
	files, err := o.fileArgs(dir, c)
	if err != nil {
		return 0, err
	}
	args := slices.Concat([]string{"run", "--run-dir", filepath.Join(dir, flows.LabRunName)},
		o.shapeArgs(c), lookArgs(e, o.Look), files, o.forwarded, []string{"--"}, selection)
	before, err := dut.Leftovers(ctx)
	if err != nil {
		return 0, err
	}
	shown := e.Out
	if o.Stdout() {
		shown = e.Err // a report is written to e.Out later
	}
	code, err = dut.Vmtb(ctx, args, shown)
	if err != nil {
		return 0, err
	}
	left, err := dut.Leftovers(context.WithoutCancel(ctx))
	for _, line := range left {
		if slices.Contains(before, line) {
			continue // the difference existed before the run: an injected fault
		}
		fmt.Fprintf(e.Err, "lab: left over in the DUT: %s\n", ansi.Printable(line))
		code = flow.ExitNotRestored
	}
	return code, err
}
