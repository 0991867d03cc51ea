package vmtb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/klog"
	"vmtb/bench/vm"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/internal/kernelwatch"
	"vmtb/internal/pick"
	"vmtb/report"
)

// reportFlags say what the user sees of a run.
type reportFlags struct {
	outputFlags
	verbose int // -v, -vv
	quiet   bool
	slowest int
	pytest  pytestLook
	json    bool
	color   string
	live    int // columns of the terminal that shows our output as it comes, though it goes to a file

	// calledAs is the command line, as a JSON array, of the "vmtb lab run" of which this run is the part in the lab.
	calledAs string
	argv     []string // the command line that the user typed, after check
}

func (o *reportFlags) add(cmd *cobra.Command) {
	o.addShared(cmd)
	cmd.Flags().IntVar(&o.live, "live", 0, "draw as on a terminal of so many columns")
	cmd.Flags().StringVar(&o.calledAs, "called-as", "", "command line of the command that runs this one, a JSON array")
	for _, name := range []string{"live", "called-as"} {
		cmd.Flags().Lookup(name).Hidden = true
	}
}

// readArgv finds out what the user typed.
func (o *reportFlags) readArgv() error {
	if o.calledAs == "" {
		o.argv = os.Args
		return nil
	}
	o.argv = nil // not the array of os.Args
	if err := json.Unmarshal([]byte(o.calledAs), &o.argv); err != nil {
		return &bench.UsageError{Err: fmt.Errorf("--called-as: %w", err)}
	}
	return nil
}

// addShared adds what makes sense for the lab, too.
func (o *reportFlags) addShared(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&o.json, "json", false, "print run.json and then the journal, a JSON object a line, instead of a report")
	o.addLook(cmd)
	o.outputFlags.add(cmd)
}

// addLook adds how the report on the terminal looks.
func (o *reportFlags) addLook(cmd *cobra.Command) {
	cmd.Flags().CountVarP(&o.verbose, "verbose", "v", "tell what fixtures do; -vv: and what flows log")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "tell only what did not pass, and the totals")
	cmd.Flags().IntVar(&o.slowest, "durations", -1, "list the `N` cases and phases that took longest; 0 is all")
	o.pytest.add(cmd)
	cmd.Flags().StringVar(&o.color, "color", "auto", "colours: auto (on a terminal), always, never")
}

func (o *reportFlags) check() error {
	if err := errors.Join(o.pytest.check(), o.readArgv()); err != nil {
		return err
	}
	switch o.color {
	case "auto", "always", "never":
		return o.outputFlags.check()
	}
	return &bench.UsageError{Err: fmt.Errorf("--color=%s: want auto, always or never", o.color)}
}

// runOptions are the flags of "vmtb run".
type runOptions struct {
	env.ConfigFlags
	selectionFlags
	policyFlags
	reportFlags
	rules   string
	dir     string
	timeout time.Duration
	recover bool
	dryRun  bool
	keep    bool
}

// addRun adds what both a run here and one in the lab offer.
func (o *runOptions) addRun(cmd *cobra.Command) {
	o.selectionFlags.add(cmd)
	o.policyFlags.add(cmd)
	cmd.Flags().StringVar(&o.rules, "kernel-log-rules", "", "JSON file with rules of what kernels may log, before those built in")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show the plan: fixtures, what they need, deadlines, flows; nothing is run or changed")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "end the run in order after this `time`, like 90m, which --timeout-scale does not multiply (default: never)")
	cmd.Flags().StringVar(&o.dir, "run-dir", "", "directory for all that the run leaves; made, must be new or empty (default: vmtb-results/TIME)")
}

func (o *runOptions) check() error {
	if o.timeout < 0 {
		return &bench.UsageError{Err: fmt.Errorf("--timeout=%v: want a time from now on", o.timeout)}
	}
	if err := errors.Join(o.reportFlags.check(), o.policyFlags.check()); err != nil {
		return err
	}
	return o.checkPlaces()
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [selection...]",
		Short: "Run flows on this machine",
		Long: `Runs the flows that a selection takes, or all of them, on this machine, and puts it back as it was.

` + selectionHelp,
		Example: `  vmtb run -v --vm-image=guest_os.img 'test_basic::TestVmSetup::test_vm_boot[1VF]'
  vmtb run --vm-image=guest_os.img test_basic`,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: a.completeSelection,
		RunE: func(cmd *cobra.Command, selection []string) error { return a.run(cmd.Context(), o, selection) },
	}
	o.ConfigFlags.Add(cmd)
	o.reportFlags.add(cmd)
	o.addRun(cmd)
	cmd.Flags().BoolVar(&o.Destructive, "destructive", false, "run what harms a machine in use, and cases known to crash its kernel if they are selected by name")
	cmd.Flags().BoolVar(&o.keep, "keep-on-failure", false, "end the run when a flow has failed, and keep its machines up for \"vmtb vm\" until \"vmtb vm off --all\"")
	cmd.Flags().BoolVar(&o.recover, "recover", false, "first put the host back if a run that died has left it changed")
	return cmd
}

func (a *app) run(ctx context.Context, o runOptions, selection []string) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.collect {
		return a.list(selection, listOptions{selectionFlags: o.selectionFlags, json: o.json})
	}
	items, notes, err := a.choose(selection, o.selectionFlags)
	if err != nil {
		return err
	}
	config, configFile, err := o.Load()
	if err != nil {
		return err
	}
	more, err := a.plan(items, o.policyFlags)
	if err != nil {
		return err
	}
	notes = append(notes, more...)
	rawRules, rules, err := kernelwatch.ReadRules(o.rules)
	if err != nil {
		return err
	}
	if o.dryRun {
		return a.dryRun(items, notes, config, o.json)
	}
	if o.keep && !isKeptRun() {
		return a.runKept()
	}
	unlock, err := a.enter(ctx, "vmtb run", items, config, o.recover, "")
	if err != nil {
		return err
	}
	unlock = sync.OnceFunc(unlock)
	defer unlock()
	var release func()
	if o.keep {
		release = unlock
	}
	if configFile != "" {
		notes = append(notes, "configuration: "+configFile)
	}
	if config.WorkloadScale != 1 {
		notes = append(notes, fmt.Sprintf("amounts of work: x %v", config.WorkloadScale))
	}
	dir, err := flows.NewRunDir(o.dir, "")
	if err != nil {
		return err
	}
	options, err := a.flowOptions(dir, config)
	if err != nil {
		return err
	}
	stopWatch := a.watchKernels(ctx, &options, rules)
	defer stopWatch()
	options.Timeout, options.Argv = o.timeout, o.argv
	options.Notes, options.Policy, options.KernelLogRules = append(notes, options.Notes...), o.Policy, rawRules
	return a.perform(ctx, options, o.reportFlags, release, func(ctx context.Context, options flow.Options) (flow.Summary, error) {
		options.Environment = environment(ctx, host.New(a.System), config)
		return flow.Run(ctx, items, options)
	})
}

// checkPlaces finds out whether the run directory can be made, and whether the reports can be written. It leaves nothing behind.
func (o *runOptions) checkPlaces() error {
	if o.dir != "" {
		if err := flows.CheckRunDir(o.dir); err != nil {
			return err
		}
	}
	return o.checkTargets(o.dir)
}

// enter takes the host for a run of items, if they can run on it; command is the one that the user gave. What runs that
// died have left, but for the one in resumed, is in the way.
func (a *app) enter(ctx context.Context, command string, items []flow.Item, config *bench.Config, mayRecover bool, resumed string) (unlock func(), err error) {
	needsImage := func(i flow.Item) bool { return slices.Contains(i.Needs, bench.NeedGuestImage) }
	if slices.ContainsFunc(items, needsImage) {
		if _, err := pick.GuestImage(ctx, config, vm.LookAtImage); err != nil {
			return nil, err
		}
	}
	needsRoot := func(i flow.Item) bool { return !i.Unprivileged }
	if slices.ContainsFunc(items, needsRoot) {
		if err := env.CheckRoot(command, os.Geteuid()); err != nil {
			return nil, err
		}
	}
	if err := a.State.CheckNoVFsInMachines(); err != nil {
		return nil, err // it says more than the lock of a run that keeps them
	}
	unlock, err = host.Lock(a.State.LockFile)
	if err != nil {
		return nil, err
	}
	err = a.State.CheckNoVFsInMachines()
	if err == nil {
		err = a.CleanHost(ctx, mayRecover, resumed)
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// watchKernels has the kernels watched during a run, until stop.
func (a *app) watchKernels(ctx context.Context, options *flow.Options, rules klog.Rules) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // also while an interrupted run tears down
	w, note := kernelwatch.Start(ctx, host.New(a.System), rules)
	if note != "" {
		options.Notes = append(options.Notes, note)
	}
	options.Watch = w
	return func() {
		cancel()
		if err := w.Close(); err != nil {
			fmt.Fprintf(a.Err, "vmtb: %s\n", ansi.Printable(err.Error()))
		}
	}
}

// perform runs what begin begins: with a report for the user, and for as long as he does not interrupt it. With
// --keep-on-failure release gives the host free; else it is nil.
func (a *app) perform(ctx context.Context, options flow.Options, o reportFlags, release func(), begin func(context.Context, flow.Options) (flow.Summary, error)) error {
	notices := a.Err
	if o.calledAs != "" { // the command that the user interrupted has said it
		notices = io.Discard
	}
	ctx, kill, stop := env.EndInOrder(ctx, notices)
	defer stop()
	options.Kill = kill
	endReport, err := a.addReport(&options, o)
	if err != nil {
		return err
	}
	var k *failureKeeper
	if release != nil {
		k, ctx = a.newFailureKeeper(ctx, &options, func() error { return endTold(a, options.Dir, o, endReport) })
	}
	summary, err := begin(ctx, options)
	if k != nil && k.over.Load() {
		return a.ended(summary, err, k.done(summary, err, o.specs, release))
	}
	if summary.Total == 0 {
		return a.ended(summary, err, endReport())
	}
	return a.ended(summary, err, endTold(a, options.Dir, o, endReport))
}

// endTold ends the reports of a run in dir, and says where they are.
func endTold(a *app, dir string, o reportFlags, endReport func() error) error {
	err := endReport()
	a.tellReports(dir, o)
	return err
}

// ended turns the end of a run into the end of the program. A run that began and could not be recorded to its end (err)
// has ended itself: that counts more than what its cases had come to. A report that could not be written is told, and is
// worth an exit code only if nothing else is.
func (a *app) ended(summary flow.Summary, err, reportErr error) error {
	if reportErr != nil {
		reportErr = &bench.InfraError{Op: "write the reports", Err: reportErr, Advice: "vmtb report writes them again"}
	}
	if err != nil && summary.Total == 0 { // it has not begun
		return errors.Join(err, reportErr)
	}
	if err != nil {
		fmt.Fprintf(a.Err, "vmtb: %s\n", ansi.Printable(err.Error()))
		summary.Stopped = err.Error()
	}
	code := summary.ExitCode()
	if code == flow.ExitPass {
		return reportErr
	}
	if reportErr != nil {
		fmt.Fprintf(a.Err, "vmtb: %s\n", ansi.Printable(reportErr.Error()))
	}
	return env.ExitCode(code)
}

// flowOptions are what every run in dir needs.
func (a *app) flowOptions(dir string, config *bench.Config) (flow.Options, error) {
	var err error
	if config.Guest.OSImage != "" { // the run may be resumed from elsewhere
		config.Guest.OSImage, err = filepath.Abs(config.Guest.OSImage)
	}
	raw, err2 := json.Marshal(config)
	if err := errors.Join(err, err2); err != nil {
		return flow.Options{}, err
	}
	h := host.New(a.System)
	resources, roster := &flow.Resources{}, &vm.Roster{}
	flow.Provide(resources, roster)
	flow.Provide(resources, config)
	flow.Provide(resources, h)
	return flow.Options{
		Dir: dir, Version: version, DUT: h.Describe(), Argv: os.Args, Config: raw,
		TimeoutScale: config.TimeoutScale, Resources: resources, Evidence: evidenceOf(roster),
		OpenUndo: a.OpenUndo, Reboot: h.Reboot,
	}, nil
}

// look is how the terminal report looks on f, which may be nil.
func (o *reportFlags) look(f *os.File) report.TerminalOptions {
	var look report.TerminalOptions
	if f != nil {
		look = look.For(f)
	}
	if o.live > 0 {
		look.Live, look.Width = true, func() int { return o.live }
	}
	if o.color != "auto" {
		look.Color = o.color == "always"
	}
	look.Verbose, look.LogFrom = max(o.verbose, o.pytest.verbose()), o.pytest.level()
	if o.quiet {
		look.Verbose = -1
	}
	switch {
	case o.slowest == 0:
		look.Slowest = -1
	case o.slowest > 0:
		look.Slowest = o.slowest
	}
	return look
}

// addReport chooses what the user sees of the run, and the reports that it leaves.
func (a *app) addReport(options *flow.Options, o reportFlags) (end func() error, err error) {
	files, err := a.openReports(options.Dir, append(report.Default(), o.specs...), o.earlier)
	if err != nil {
		return nil, err
	}
	var shown report.Report
	stop := func() {}
	if o.json {
		enc := json.NewEncoder(a.Out)
		enc.SetEscapeHTML(false)
		shown = lines{enc}
	} else {
		out := a.Out
		if o.stdout() {
			out = a.Err
		}
		f, _ := out.(*os.File)
		t := report.NewTerminal(out, o.look(f))
		var follow context.Context
		follow, stop = context.WithCancel(context.Background())
		go t.Follow(follow)
		shown = t
	}
	all := append(reports{shown}, files...)
	options.Started, options.Observer = all.Start, all.Entry
	return func() error { stop(); return all.Close() }, nil
}

// lines is the journal itself, as it grows. A reader that went away does not end the run.
type lines struct{ enc *json.Encoder }

func (l lines) Start(info flow.Info) { _ = l.enc.Encode(info) }
func (l lines) Entry(e flow.Entry)   { _ = l.enc.Encode(e) }
func (l lines) Close() error         { return nil }
