package vmtb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/bench/vm"
	"vmtb/flow"
	"vmtb/report"
)

// runOptions are the flags of "vmtb run".
type runOptions struct {
	configFlags
	outputFlags
	dir     string
	verbose bool
	json    bool
	color   string
	live    int // columns of the terminal that shows our output as it comes, though it goes to a file
}

func (o *runOptions) add(cmd *cobra.Command) {
	o.configFlags.add(cmd)
	o.addReport(cmd)
	cmd.Flags().IntVar(&o.live, "live", 0, "draw as on a terminal of so many columns")
	cmd.Flags().Lookup("live").Hidden = true
}

// addReport adds what both a run here and one in the lab offer.
func (o *runOptions) addReport(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.dir, "run-dir", "", "directory for all that the run leaves; made, must be new or empty (default: vmtb-results/TIME)")
	flags.BoolVar(&o.json, "json", false, "print run.json and then the journal, a JSON object a line, instead of a report")
	o.addLook(cmd)
	o.outputFlags.add(cmd)
}

// addLook adds how the report on the terminal looks.
func (o *runOptions) addLook(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "a line for each flow, with what its fixture does")
	cmd.Flags().StringVar(&o.color, "color", "auto", "colours: auto (on a terminal), always, never")
}

func (o *runOptions) check() error {
	switch o.color {
	case "auto", "always", "never":
		return o.outputFlags.check()
	}
	return &bench.UsageError{Err: fmt.Errorf("--color=%s: want auto, always or never", o.color)}
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
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, selection []string) error { return a.run(cmd.Context(), o, selection) },
	}
	o.add(cmd)
	return cmd
}

func (a *app) run(ctx context.Context, o runOptions, selection []string) error {
	if err := o.check(); err != nil {
		return err
	}
	items, notes, err := a.registry.Select(selection)
	if err != nil {
		return err
	}
	config, configFile, err := o.load()
	if err != nil {
		return err
	}
	needsImage := func(i flow.Item) bool { return slices.Contains(i.Needs, bench.NeedGuestImage) }
	if slices.ContainsFunc(items, needsImage) {
		if err := vm.CheckImage(config.Guest.OSImage); err != nil {
			return err
		}
	}
	if os.Geteuid() != 0 {
		return &bench.UsageError{Err: errors.New("vmtb run changes PCI devices and loads drivers, which only root may"), Advice: "run as root"}
	}
	h := host.New(host.OS{})
	unlock, err := h.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	if configFile != "" {
		notes = append(notes, "configuration: "+configFile)
	}
	options, err := a.flowOptions(o, config, h)
	if err != nil {
		return err
	}
	options.Notes, options.Environment = notes, environment(ctx, h, config)
	ctx, kill, stop := interrupts(ctx, a.err)
	defer stop()
	options.Kill = kill
	endReport, err := a.addReport(&options, o)
	if err != nil {
		return err
	}
	summary, err := flow.Run(ctx, items, options)
	return a.ended(summary, err, endReport())
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
		fmt.Fprintf(a.err, "vmtb: %s\n", printable(err.Error()))
		summary.Stopped = err.Error()
	}
	code := summary.ExitCode()
	if code == flow.ExitPass {
		return reportErr
	}
	if reportErr != nil {
		fmt.Fprintf(a.err, "vmtb: %s\n", printable(reportErr.Error()))
	}
	return exitCode(code)
}

// flowOptions are all that a run needs but its selection.
func (a *app) flowOptions(o runOptions, config *bench.Config, h *host.Host) (flow.Options, error) {
	raw, err := json.Marshal(config)
	if err != nil {
		return flow.Options{}, err
	}
	dir, err := newRunDir(o.dir, "")
	if err != nil {
		return flow.Options{}, err
	}
	resources := &flow.Resources{}
	flow.Provide(resources, config)
	flow.Provide(resources, h)
	options := flow.Options{
		Dir: dir, Version: version, DUT: h.Describe(), Argv: os.Args, Config: raw,
		TimeoutScale: config.TimeoutScale, Resources: resources,
		OpenUndo: func(path string) (flow.Undo, error) {
			log, err := undo.Open(path)
			return undoOn{log, h.System}, err
		},
	}
	return options, nil
}

// undoOn is a journal of host changes with the system on which they are undone.
type undoOn struct {
	*undo.Log
	system undo.System
}

func (u undoOn) Undo(ctx context.Context) error { return u.Log.Undo(ctx, u.system) }

// look is how the terminal report looks on f, which may be nil.
func (o *runOptions) look(f *os.File) report.TerminalOptions {
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
	if o.verbose {
		look.Verbose = 1
	}
	return look
}

// addReport chooses what the user sees of the run, and the reports that it leaves.
func (a *app) addReport(options *flow.Options, o runOptions) (end func() error, err error) {
	files, err := a.openReports(options.Dir, append(report.Default(), o.specs...), o.earlier)
	if err != nil {
		return nil, err
	}
	var shown report.Report
	stop := func() {}
	if o.json {
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false)
		shown = lines{enc}
	} else {
		out := a.out
		if o.stdout() {
			out = a.err
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
