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
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/internal/kernelwatch"
	"vmtb/lab"
	"vmtb/report"
)

func (a *app) labCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "The emulated machine under test",
		Long: `The lab is a QEMU machine that plays the machine under test, with an emulated SR-IOV device, an IOMMU and nested
virtualization: all of vmtb runs in it for real, without a GPU. "vmtb help lab" tells more.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringSliceVar(&a.labPackages, "package", nil, "Debian packages for the DUT to have, beside its own: --package=python3-pytest,strace")
	cmd.PersistentFlags().StringVar(&a.labGPU, "gpu", "",
		"GPU of the DUT: ptl is emulated and driven by Debian's own xe, stand-in has stand-ins for GPU and xe (default ptl)")
	cmd.PersistentFlags().StringArrayVar(&a.labProperties, "gpu-property", nil,
		"NAME=VALUE of the emulated GPU, such as a fault (lab/gpu/README.md lists them); may be given more than once")
	cmd.PersistentFlags().BoolVar(&a.labMigration, "migration", false, "xe and xe-vfio-pci built from Debian's source, for flows that save or migrate VFs (such flows select it)")
	cmd.AddCommand(a.labBuildCommand(), a.labRunCommand(), a.labSpeedCommand(), a.labCleanCommand())
	a.addKeptLab(cmd)
	return cmd
}

// buildLab makes the lab's images if they are not there yet.
func (a *app) buildLab(ctx context.Context) (lab.Images, error) {
	dir, err := lab.CacheDir()
	if err != nil {
		return lab.Images{}, err
	}
	o := lab.BuildOptions{GPU: lab.GPU(a.labGPU), Packages: a.labPackages, Migration: a.labMigration}
	return lab.BuildImages(ctx, dir, o, a.Progress("lab"))
}

func (a *app) labBuildCommand() *cobra.Command {
	var asEnv, gpuTest, asJSON bool
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the lab's images, or what has changed of them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			if gpuTest {
				return a.buildGPUTest(ctx)
			}
			images, err := a.buildLab(ctx)
			if err != nil {
				return err
			}
			switch {
			case asJSON:
				return json.NewEncoder(a.Out).Encode(images)
			case asEnv:
				fmt.Fprintf(a.Out, "VMTB_TEST_KERNEL=%s\nVMTB_TEST_INITRD=%s\nVMTB_TEST_IMAGE=%s\n", images.GuestKernel, images.GuestInitrd, images.Guest)
			default:
				fmt.Fprintf(a.Out, "DUT:   %s\nguest: %s\n", images.DUT, images.Guest)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asEnv, "env", false, "print the guest's files as variables for the integration tests")
	cmd.Flags().BoolVar(&gpuTest, "gpu-test", false,
		"build no images but the emulated GPU for its own tests, and print its files as variables for them")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print where the images are as JSON")
	cmd.MarkFlagsMutuallyExclusive("env", "gpu-test", "json")
	return cmd
}

// buildGPUTest builds what the tests in lab/gpu/qtest need and prints it for their environment.
func (a *app) buildGPUTest(ctx context.Context) error {
	dir, err := lab.CacheDir()
	if err != nil {
		return err
	}
	t, err := lab.BuildGPUTest(ctx, dir, a.Progress("lab"))
	if err == nil {
		fmt.Fprintf(a.Out, "VMTB_LAB_ROOT=%s\nVMTB_GPU_OBJECT=%s\nVMTB_GPU_SANITIZED=%s\n", t.Root, t.Plain, t.Sanitized)
	}
	return err
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
			freed, err := lab.Clean(cmd.Context(), dir, a.Progress("lab"))
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "%s: %d MiB freed\n", dir, freed>>20)
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
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: a.completeSelection,
		RunE: func(cmd *cobra.Command, selection []string) error { return a.labRun(cmd.Context(), o, selection) },
	}
	o.AddLab(cmd)
	o.reportFlags.addShared(cmd)
	o.addRun(cmd)
	cmd.Flags().StringVar(&o.xe, "xe", "", "parameters of the stand-in for xe, separated by blanks: 'device=ptl layout=legacy' (lab/kmod/README.md lists them)")
	return cmd
}

// labOptions are the flags of "vmtb lab run".
type labOptions struct {
	runOptions
	xe string
}

func (a *app) labRun(ctx context.Context, o labOptions, selection []string) error {
	params := strings.Fields(o.xe)
	if err := errors.Join(o.check(), a.checkLabGPU(params)); err != nil {
		return err
	}
	items, notes, config, err := a.labPlan(o, selection)
	if err != nil {
		return err // before anything is built or booted
	}
	if o.collect {
		return a.list(selection, listOptions{selectionFlags: o.selectionFlags, json: o.json})
	}
	if o.dryRun {
		return a.dryRun(items, notes, config, o.json)
	}
	if o.failedIn() != "" { // that run is here, not there
		selection = names(items)
	}
	ctx, kill, stop := env.EndInOrder(ctx, a.Err)
	defer stop()
	a.labMigration = a.labMigration || slices.ContainsFunc(items, movesVFs)
	images, err := a.buildLab(ctx)
	if err != nil {
		return err
	}
	dir, err := flows.NewRunDir(o.dir, "-lab")
	if err != nil {
		return err
	}
	runDir := filepath.Join(dir, flows.LabRunName)
	files, err := a.openReports(runDir, append(report.Default(), o.specs...), o.earlier) // one that cannot be written is known now
	if err != nil {
		return err
	}
	dut, err := lab.Start(ctx, lab.Options{
		Images: images, Dir: filepath.Join(dir, "dut"), Share: dir,
		XeParams: params, GPUProperties: a.labProperties, Progress: a.Progress("lab"),
	})
	if err != nil {
		return errors.Join(err, files.Close())
	}
	go func() { // the second interrupt: nothing in the DUT is worth putting back
		select {
		case <-kill:
			_ = dut.Kill(context.WithoutCancel(ctx)) // Close, below, tells what became of it
		case <-dut.Done():
		}
	}()
	code, err := a.runInDUT(ctx, dut, dir, o.runOptions, config, selection)
	select {
	case <-kill: // whatever the end of the DUT has spoiled
		code, err = flow.ExitInterrupted, nil
	default:
	}
	closeErr := dut.Close(context.WithoutCancel(ctx))
	reportErr := labReports(runDir, files)
	fmt.Fprintf(a.Err, "lab: run directory on this machine: %s; console and logs of the DUT: %s\n", runDir, filepath.Join(dir, "dut"))
	if err != nil { // the run's exit code is not known
		return errors.Join(err, closeErr, reportErr)
	}
	return a.labEnded(code, closeErr, reportErr)
}

// labEnded turns the exit code of a run in the lab into ours. A DUT that did not end, or a report that could not be written, is
// printed, and decides the exit code only if all flows passed: see [app.ended].
func (a *app) labEnded(code int, errs ...error) error {
	err := errors.Join(errs...)
	if code == flow.ExitPass {
		return err
	}
	if err != nil {
		fmt.Fprintf(a.Err, "vmtb: %s\n", ansi.Printable(err.Error()))
	}
	return env.ExitCode(code)
}

// checkLabGPU refuses a GPU that there is not, and parameters for the stand-in for xe that would not be used.
func (a *app) checkLabGPU(params []string) error {
	gpu := cmp.Or(lab.GPU(a.labGPU), lab.DefaultGPU)
	if err := errors.Join(gpu.Check(), gpu.CheckProperties(a.labProperties), lab.CheckXeParams(params)); err != nil {
		return err
	}
	if gpu.Real() && len(params) > 0 {
		err := fmt.Errorf("--xe=%q with --gpu=%s: --xe is for the stand-in for xe, which this GPU does not use", strings.Join(params, " "), gpu)
		return &bench.UsageError{Err: err, Advice: "leave out --xe, or give --gpu=" + string(lab.StandIn)}
	}
	return nil
}

// movesVFs reports whether a flow saves, restores or migrates VFs: all files of flows that have a class which does count as a whole.
func movesVFs(item flow.Item) bool {
	return slices.Contains([]string{"test_migration", "vm_state", "vm_robust"}, item.ID.File)
}

// labPlan is what is to be run in the lab, and how.
func (a *app) labPlan(o labOptions, selection []string) (items []flow.Item, notes []string, config *bench.Config, err error) {
	items, notes, err = a.choose(selection, o.selectionFlags)
	if err != nil {
		return nil, nil, nil, err
	}
	more, err := a.plan(items, o.policyFlags)
	if err == nil {
		_, _, err = kernelwatch.ReadRules(o.rules)
	}
	if err == nil {
		config, _, err = o.Load()
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if !o.Given("timeout-scale") && config.TimeoutScale == 1 {
		speed, err := lab.MeasuredSpeed()
		if err != nil {
			return nil, nil, nil, err
		}
		config.TimeoutScale = speed.TimeoutScale()
	}
	return items, append(notes, more...), config, nil
}

// labReports writes the reports of a run in the lab on this machine: the DUT sees nothing of it but the run directory,
// and may have died before it wrote any.
func labReports(dir string, files reports) error {
	run, err := flow.OpenRun(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return files.Close() // it came to no run
	}
	if err != nil {
		return errors.Join(&bench.InfraError{Op: "read the run directory", Err: err}, files.Close())
	}
	if err := report.Replay(files, run); err != nil {
		return &bench.InfraError{Op: "write the reports", Err: err, Advice: "vmtb report writes them again"}
	}
	return nil
}

// runInDUT runs vmtb in the DUT and looks at what it left there.
func (a *app) runInDUT(ctx context.Context, dut *lab.DUT, dir string, o runOptions, c *bench.Config, selection []string) (code int, err error) {
	args := append([]string{"run", "--run-dir", filepath.Join(dir, flows.LabRunName), "--vm-image", lab.GuestImage}, o.labShape(c)...)
	args = append(args, a.labLook(o.reportFlags)...)
	given, err := o.labFiles(dir, c)
	if err != nil {
		return 0, err
	}
	args = append(append(append(args, given...), "--"), selection...)
	before, err := dut.Leftovers(ctx)
	if err != nil {
		return 0, err
	}
	shown := a.Out
	if o.stdout() {
		shown = a.Err // a report goes there, later
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
		fmt.Fprintf(a.Err, "lab: left over in the DUT: %s\n", ansi.Printable(line))
		code = flow.ExitNotRestored
	}
	return code, err
}

// labShape are the flags that suit a run to the lab, unless the user says otherwise.
func (o *runOptions) labShape(c *bench.Config) []string {
	memory := lab.GuestMiB
	if usual := bench.DefaultConfig(); o.Given("vm-memory") || c.VM.MemoryMiB != usual.VM.MemoryMiB {
		memory = c.VM.MemoryMiB
	}
	decimal := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	args := []string{"--vm-memory", strconv.Itoa(memory), "--timeout-scale", decimal(c.TimeoutScale)}
	if o.WorkloadScale != 0 {
		args = append(args, "--workload-scale", decimal(o.WorkloadScale))
	}
	return args
}

// labLook are the flags by which the report in the DUT, which goes to a file, looks as it would here.
func (a *app) labLook(o reportFlags) []string {
	var args []string
	if f, ok := a.Out.(*os.File); ok { // what reads along may be a terminal
		look := o.look(f)
		args = append(args, "--color="+map[bool]string{true: "always", false: "never"}[look.Color])
		if look.Live {
			args = append(args, fmt.Sprintf("--live=%d", look.Width()))
		}
	}
	if argv, err := json.Marshal(os.Args); err == nil { // strings have a JSON form
		args = append(args, "--called-as="+string(argv))
	}
	args = append(args, fmt.Sprintf("--verbose=%d", max(o.verbose, o.pytest.verbose())), fmt.Sprintf("--durations=%d", o.slowest), fmt.Sprintf("--quiet=%v", o.quiet))
	if o.pytest.logLevel != "" {
		args = append(args, "--log-cli-level="+o.pytest.logLevel)
	}
	if o.json {
		args = append(args, "--json")
	}
	return args
}

// labFiles gives the DUT the files that flags name, and are the flags that name them there.
func (o *runOptions) labFiles(dir string, c *bench.Config) ([]string, error) {
	var args []string
	config, err := give(dir, env.ConfigName, o.File)
	if err == nil && config != "" {
		args = append(args, "--config", config)
		err = giveDirs(dir, filepath.Dir(o.File), c.Resources.VGPUProfilesPath, c.Resources.WsimPath)
	}
	if err != nil {
		return nil, err
	}
	quarantine, err := give(dir, "quarantine.json", o.quarantine)
	if err != nil {
		return nil, err
	}
	args = append(args, o.args(quarantine)...)
	if o.timeout > 0 {
		args = append(args, "--timeout", o.timeout.String())
	}
	if o.keyword != "" {
		args = append(args, "--keyword", o.keyword)
	}
	if o.shard != "" && o.failedIn() == "" {
		args = append(args, "--shard", o.shard)
	}
	rules, err := give(dir, "kernel-log-rules.json", o.rules)
	if err == nil && rules != "" {
		args = append(args, "--kernel-log-rules", rules)
	}
	return args, err
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

// giveDirs copies directories that a configuration in base names into the directory that the DUT sees, where they are to that
// configuration what they were. Those that are not there are not missed.
func giveDirs(dir, base string, dirs ...string) error {
	for _, from := range dirs {
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		rel, err := filepath.Rel(base, from)
		if err != nil || !filepath.IsLocal(rel) {
			return &bench.UsageError{Err: fmt.Errorf("%s is not below %s, the directory of the configuration", from, base), Advice: "the lab takes along only what is"}
		}
		if err := os.CopyFS(filepath.Join(dir, rel), os.DirFS(from)); err != nil && !errors.Is(err, fs.ErrExist) {
			return &bench.InfraError{Op: "give the DUT " + from, Err: err}
		}
	}
	return nil
}
