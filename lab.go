package vmtb

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/lab"
	"vmtb/report"
)

func (a *app) labCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "The emulated machine under test",
		Long: `The lab is a QEMU machine that plays the machine under test, with an emulated SR-IOV device, an IOMMU and nested
virtualization: all of vmtb runs in it for real, without a GPU. docs/lab.md tells more.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.labBuildCommand(), a.labRunCommand(), a.labShellCommand(), a.labCleanCommand())
	return cmd
}

func (a *app) progress() *lab.Progress {
	if f, ok := a.err.(*os.File); ok {
		if look := (report.TerminalOptions{}).For(f); look.Live {
			return lab.NewProgress(a.err, look.Width)
		}
	}
	return lab.NewProgress(a.err, nil)
}

// buildLab makes the lab's images if they are not there yet.
func (a *app) buildLab(ctx context.Context) (lab.Images, error) {
	dir, err := lab.CacheDir()
	if err != nil {
		return lab.Images{}, err
	}
	return lab.Build(ctx, dir, a.progress())
}

func (a *app) labBuildCommand() *cobra.Command {
	var env, asJSON bool
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the lab's images, or what has changed of them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, _, stop := interrupts(cmd.Context(), a.err)
			defer stop()
			images, err := a.buildLab(ctx)
			if err != nil {
				return err
			}
			switch {
			case asJSON:
				return json.NewEncoder(a.out).Encode(images)
			case env:
				fmt.Fprintf(a.out, "VMTB_TEST_KERNEL=%s\nVMTB_TEST_INITRD=%s\nVMTB_TEST_IMAGE=%s\n", images.GuestKernel, images.GuestInitrd, images.Guest)
			default:
				fmt.Fprintf(a.out, "DUT:   %s\nguest: %s\n", images.DUT, images.Guest)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&env, "env", false, "print the guest's files as variables for the integration tests")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print where the images are as JSON")
	return cmd
}

func (a *app) labCleanCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clean",
		Short: "Remove the lab's images, so that they are built from new packages",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := lab.CacheDir()
			if err != nil {
				return err
			}
			freed, err := lab.Clean(cmd.Context(), dir, a.progress())
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s: %d MiB freed\n", dir, freed>>20)
			return nil
		},
	}
}

func (a *app) labRunCommand() *cobra.Command {
	var o labOptions
	cmd := &cobra.Command{
		Use:   "run [selection...]",
		Short: "Run flows in the lab",
		Long: `Boots the emulated machine under test, building its images first if need be, and does in it what "vmtb run" does
on a real one. The run directory, and all that the machine itself left, end up on this machine.

` + selectionHelp,
		Example: `  vmtb lab run -v test_basic::TestVmSetup`,
		Args:    cobra.ArbitraryArgs,
		RunE:    func(cmd *cobra.Command, selection []string) error { return a.labRun(cmd.Context(), o, selection) },
	}
	o.configFlags.addShared(cmd)
	o.reportFlags.addShared(cmd)
	o.addRun(cmd)
	cmd.Flags().StringVar(&o.xe, "xe", "", "parameters of the stand-in for xe, separated by blanks: 'device=ptl layout=legacy' (lab/kmod/README.md lists them)")
	return cmd
}

// What a guest of the lab gets. VFIO pins all of its memory, and a machine in an emulated machine takes its time: a
// guest's boot 10 to 25 s where a real one takes 2.
const (
	labGuestMiB     = 256
	labTimeoutScale = 5.0
)

// labOptions are the flags of "vmtb lab run".
type labOptions struct {
	runOptions
	xe string
}

func (a *app) labRun(ctx context.Context, o labOptions, selection []string) error {
	if err := o.check(); err != nil {
		return err
	}
	params := strings.Fields(o.xe)
	if err := lab.CheckXeParams(params); err != nil {
		return err
	}
	items, _, err := a.registry.Select(selection)
	if err != nil {
		return err // before anything is built or booted
	}
	if _, _, err := a.plan(items, o.policyFlags); err != nil {
		return err
	}
	if _, _, err := readRules(o.rules); err != nil {
		return err
	}
	if _, _, err := o.load(); err != nil {
		return err
	}
	ctx, kill, stop := interrupts(ctx, a.err)
	defer stop()
	images, err := a.buildLab(ctx)
	if err != nil {
		return err
	}
	dir, err := newRunDir(o.dir, "-lab")
	if err != nil {
		return err
	}
	dut, err := lab.Start(ctx, lab.Options{Images: images, Dir: filepath.Join(dir, "dut"), Share: dir, XeParams: params, Progress: a.progress()})
	if err != nil {
		return err
	}
	go func() { // the second interrupt: nothing in the DUT is worth putting back
		select {
		case <-kill:
			_ = dut.Kill(context.WithoutCancel(ctx)) // Close, below, tells what became of it
		case <-dut.Done():
		}
	}()
	code, err := a.runInDUT(ctx, dut, dir, o.runOptions, selection)
	select {
	case <-kill: // whatever the end of the DUT has spoiled
		code, err = flow.ExitInterrupted, nil
	default:
	}
	err = errors.Join(err, dut.Close(context.WithoutCancel(ctx)))
	err = errors.Join(err, a.labReports(filepath.Join(dir, "run"), o.outputFlags))
	fmt.Fprintf(a.err, "lab: run directory on this machine: %s; console and logs of the DUT: %s\n", filepath.Join(dir, "run"), filepath.Join(dir, "dut"))
	if err != nil || code == flow.ExitPass {
		return err
	}
	return exitCode(code)
}

// labReports writes the reports of a run in the lab on this machine: the DUT sees nothing of it but the run directory,
// and may have died before it wrote any.
func (a *app) labReports(dir string, o outputFlags) error {
	run, err := flow.OpenRun(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it came to no run
	}
	if err != nil {
		return &bench.InfraError{Op: "read the run directory", Err: err}
	}
	files, err := a.openReports(dir, append(report.Default(), o.specs...), o.earlier)
	if err == nil {
		err = report.Replay(files, run)
	}
	if err != nil {
		return &bench.InfraError{Op: "write the reports", Err: err, Advice: "vmtb report writes them again"}
	}
	return nil
}

// runInDUT runs vmtb in the DUT and looks at what it left there.
func (a *app) runInDUT(ctx context.Context, dut *lab.DUT, dir string, o runOptions, selection []string) (code int, err error) {
	args := []string{
		"run", "--run-dir", filepath.Join(dir, "run"), "--vm-image", lab.GuestImage,
		"--vm-memory", strconv.Itoa(cmp.Or(o.memoryMiB, labGuestMiB)),
		"--timeout-scale", strconv.FormatFloat(cmp.Or(o.timeoutScale, labTimeoutScale), 'g', -1, 64),
	}
	if o.workloadScale != 0 {
		args = append(args, "--workload-scale", strconv.FormatFloat(o.workloadScale, 'g', -1, 64))
	}
	if f, ok := a.out.(*os.File); ok { // the DUT's vmtb writes to a file; what reads along may be a terminal
		look := o.look(f)
		args = append(args, "--color="+map[bool]string{true: "always", false: "never"}[look.Color])
		if look.Live {
			args = append(args, fmt.Sprintf("--live=%d", look.Width()))
		}
	}
	if o.verbose {
		args = append(args, "--verbose")
	}
	if o.json {
		args = append(args, "--json")
	}
	config, err := give(dir, configName, o.file)
	if err != nil {
		return 0, err
	}
	if config != "" {
		args = append(args, "--config", config)
	}
	quarantine, err := give(dir, "quarantine.json", o.quarantine)
	if err != nil {
		return 0, err
	}
	args = append(args, o.args(quarantine)...)
	rules, err := give(dir, "kernel-log-rules.json", o.rules)
	if err != nil {
		return 0, err
	}
	if rules != "" {
		args = append(args, "--kernel-log-rules", rules)
	}
	args = append(append(args, "--"), selection...)
	before, err := dut.Leftovers(ctx)
	if err != nil {
		return 0, err
	}
	shown := a.out
	if o.stdout() {
		shown = a.err // a report goes there, later
	}
	code, err = dut.Vmtb(ctx, args, shown)
	if err != nil {
		return 0, err
	}
	left, err := dut.Leftovers(context.WithoutCancel(ctx))
	for _, line := range left {
		if slices.Contains(before, line) {
			continue // a DUT that came up so: an injected fault
		}
		fmt.Fprintf(a.err, "lab: left over in the DUT: %s\n", printable(line))
		code = flow.ExitNotRestored
	}
	return code, err
}

// give copies a file into the directory that the DUT sees; "" is none.
func give(dir, name, from string) (copied string, err error) {
	if from == "" {
		return "", nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return "", &bench.UsageError{Err: err}
	}
	copied = filepath.Join(dir, name)
	if err := os.WriteFile(copied, data, 0o644); err != nil {
		return "", &bench.InfraError{Op: "give the DUT " + from, Err: err}
	}
	return copied, nil
}

func (a *app) labShellCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "shell",
		Short: "Boot the lab and get a shell in it",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.labShell(cmd.Context()) },
	}
}

func (a *app) labShell(ctx context.Context) error {
	if !isTerminal(os.Stdin) {
		return &bench.UsageError{Err: errors.New("vmtb lab shell needs a terminal")}
	}
	images, err := a.buildLab(ctx)
	if err != nil {
		return err
	}
	dir, err := newRunDir("", "-lab")
	if err != nil {
		return err
	}
	dut, err := lab.Start(ctx, lab.Options{Images: images, Dir: filepath.Join(dir, "dut"), Share: dir, Progress: a.progress()})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "lab: %s is the same directory here and there; Ctrl-] ends the machine\n", dir)
	err = dut.Shell(ctx, os.Stdin, a.out)
	return errors.Join(err, dut.Close(context.WithoutCancel(ctx)))
}
