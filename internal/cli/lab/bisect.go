package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/imagebuild"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
)

// These exit codes are those that "git bisect run" expects.
const (
	bisectGood  = 0
	bisectBad   = 1
	bisectSkip  = 125 // this revision cannot be tested
	bisectAbort = 129 // git ends the bisection at codes from 128 on
)

// bisectOptions are the flags of "vmtb lab bisect".
type bisectOptions struct {
	runOptions
	build   string
	command bool // the arguments are a command for the DUT, not a selection
}

func bisectCommand(e *env.Env, d *dutFlags) *cobra.Command {
	o := bisectOptions{runOptions: runOptions{dut: d}}
	cmd := &cobra.Command{
		Use:   "bisect [selection...] | bisect -- command [argument...]",
		Short: "Test one kernel, with the exit codes of git bisect run",
		Long: `Builds a kernel (--build), boots the lab with it, and runs flows, or a command in the DUT. The exit code
tells "git bisect run" about this revision: 0 it is good, 1 it is bad, 125 it cannot be tested, because the kernel
does not build, does not boot, or no flow gave a result. 129 ends the bisection: a flag is wrong, or this machine
failed. See "vmtb help kernels" for a recipe.

` + flows.SelectionHelp,
		Example: `  git bisect run vmtb lab bisect --kernel=. --build='make -j8 bzImage modules' test_basic::TestVmSetup
  git bisect run vmtb lab bisect --kernel=. --build=./build.sh -- sh -c 'vmtb vf enable 2 && vmtb vf list'`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: flows.CompleteSelection(e),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.command = cmd.ArgsLenAtDash() == 0
			o.forwarded = forwardArgs(cmd.Flags(), "build")
			err := o.run(cmd.Context(), e, args)
			return bisectEnd(e, err, o.booted)
		},
	}
	o.AddLab(cmd)
	o.ReportFlags.AddShared(cmd)
	o.AddRun(cmd)
	cmd.Flags().StringVar(&o.build, "build", "",
		"shell command that builds the kernel, run in the tree of --kernel; a failure means that this revision cannot "+
			"be tested")
	return cmd
}

// A bisectResult is an exit code for "git bisect run", with its reason.
type bisectResult struct {
	code int
	why  string
}

func (r bisectResult) Error() string { return r.why }

// bisectEnd prints the verdict about a kernel, and returns it as an exit code.
func bisectEnd(e *env.Env, err error, booted bool) error {
	r := bisectVerdict(err, booted)
	word := map[int]string{
		bisectGood: "good", bisectBad: "bad", bisectSkip: "cannot be tested", bisectAbort: "end of the bisection",
		flow.ExitInterrupted: "interrupted",
	}[r.code]
	fmt.Fprintf(e.Err, "bisect: %s (exit code %d): %s\n", word, r.code, r.why)
	return env.ExitCode(r.code)
}

// bisectVerdict returns the verdict for the end of a run. booted says that the DUT had booted. Only the
// death of the DUT's own kernel says something about that kernel. If QEMU was killed, or a disk of this
// machine is full, it would happen with the next revision, too: that ends the bisection.
func bisectVerdict(err error, booted bool) bisectResult {
	if err == nil {
		return bisectResult{bisectGood, "passed"}
	}
	if r, ok := errors.AsType[bisectResult](err); ok {
		return r
	}
	if code, ok := errors.AsType[env.ExitCode](err); ok {
		switch int(code) {
		case flow.ExitPass:
			return bisectResult{bisectGood, "passed"}
		case flow.ExitFail:
			return bisectResult{bisectBad, "a flow failed"}
		case flow.ExitInterrupted:
			return bisectResult{flow.ExitInterrupted, "interrupted by the user"}
		case flow.ExitUsage, flow.ExitNoMatch:
			return bisectResult{bisectAbort, "nothing ran"}
		}
		return bisectResult{bisectSkip, fmt.Sprintf("no flow failed, and the run ended with exit code %d", code)}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return bisectResult{flow.ExitInterrupted, "interrupted by the user"}
	case errors.Is(err, imagebuild.ErrNotBuilt), errors.Is(err, imagebuild.ErrUnfit):
		return bisectResult{bisectSkip, err.Error()}
	case errors.As(err, new(*bench.GuestError)) && booted:
		return bisectResult{bisectBad, "the DUT had booted, and its kernel died: " + err.Error()}
	case errors.As(err, new(*bench.GuestError)):
		return bisectResult{bisectSkip, "the DUT does not boot: " + err.Error()}
	}
	return bisectResult{bisectAbort, err.Error()}
}

func (o *bisectOptions) run(ctx context.Context, e *env.Env, args []string) error {
	if o.build != "" {
		if err := o.buildKernel(ctx, e); err != nil {
			return err
		}
	}
	if o.command {
		return o.runCommand(ctx, e, args)
	}
	if err := o.runOptions.run(ctx, e, args); err != nil {
		return err
	}
	passed, err := anyPassed(o.runDir)
	if err == nil && !passed {
		return bisectResult{bisectSkip, "no flow passed or failed: all were skipped"}
	}
	return err
}

// anyPassed reports whether a case of a run passed.
func anyPassed(runDir string) (bool, error) {
	run, err := flow.OpenRun(runDir)
	if err != nil {
		return false, &bench.InfraError{Op: "read the run directory", Err: err}
	}
	return slices.ContainsFunc(run.Entries, func(e flow.Entry) bool {
		return e.Phase == flow.PhaseCase && (e.Result == flow.Pass || e.Result == flow.DmesgWarn)
	}), nil
}

// buildKernel runs the user's command to build the kernel.
func (o *bisectOptions) buildKernel(ctx context.Context, e *env.Env) error {
	dir := o.dut.kernel
	if info, err := os.Stat(dir); dir == "" || err != nil || !info.IsDir() {
		dir = "."
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", o.build)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, e.Err, e.Err
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	ctx, stop := env.CancelOnInterrupt(ctx)
	defer stop()
	started := time.Now()
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return context.Canceled
	case err != nil:
		return bisectResult{bisectSkip, fmt.Sprintf("--build=%s: %v", o.build, err)}
	}
	fmt.Fprintf(e.Err, "bisect: the kernel is built, after %s\n", time.Since(started).Round(time.Second))
	return nil
}

// runCommand runs a command in a DUT of its own.
func (o *bisectOptions) runCommand(ctx context.Context, e *env.Env, argv []string) error {
	share, err := os.MkdirTemp("", "vmtb-bisect-")
	if err != nil {
		return &bench.InfraError{Op: "make a directory for the DUT", Err: err}
	}
	// It has only what the DUT needs; the command's output went to the terminal.
	defer func() { _ = os.RemoveAll(share) }()
	x := execOptions{upOptions: upOptions{dut: o.dut, share: share, once: true}}
	o.booted, err = x.runFresh(ctx, e, argv)
	code, ended := errors.AsType[env.ExitCode](err)
	switch {
	case err == nil:
		return nil
	case ended && code == flow.ExitInterrupted:
		return err
	case ended && code < bisectSkip:
		return bisectResult{bisectBad, fmt.Sprintf("the command ended with exit code %d", code)}
	case ended && code == bisectSkip:
		return bisectResult{bisectSkip, "the command ended with exit code 125"}
	case ended:
		return bisectResult{bisectAbort, fmt.Sprintf("the command did not run to its end: exit code %d", code)}
	}
	return err
}
