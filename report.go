package vmtb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/report"
)

// outputFlags choose the reports that are written beside those that every run directory gets.
type outputFlags struct {
	reports []string
	compare string
	junit   string

	specs   []report.Spec
	earlier *flow.RunDir
}

func (o *outputFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&o.reports, "report", nil, "FORMAT or FORMAT:PATH, may be given several times; formats: "+strings.Join(report.FormatNames(), ", ")+" (see vmtb help reports)")
	for _, name := range []string{"junitxml", "junit-xml"} { // pytest's
		flags.StringVar(&o.junit, name, "", "like --report=junit:PATH")
		flags.Lookup(name).Hidden = true
	}
	flags.StringVar(&o.compare, "compare", "", "run directory of an earlier run to compare with")
}

// check reads what the flags name.
func (o *outputFlags) check() error {
	o.specs = nil
	asked := o.reports
	if o.junit != "" {
		asked = append(slices.Clone(asked), "junit:"+o.junit)
	}
	for _, s := range asked {
		spec, err := report.ParseSpec(s)
		if err != nil {
			return err
		}
		o.specs = append(o.specs, spec)
	}
	if o.compare == "" {
		return nil
	}
	run, err := flow.OpenRun(flows.RunDirIn(o.compare))
	if err != nil {
		return &bench.UsageError{Err: fmt.Errorf("--compare: %w", err)}
	}
	o.earlier = run
	return nil
}

// checkTargets finds out whether the reports of a run in dir, which may be "" for not known yet, can be written, and leaves
// nothing behind.
func (o *outputFlags) checkTargets(dir string) error {
	for _, s := range o.specs {
		if err := s.Check(dir); err != nil {
			return err
		}
	}
	return nil
}

// tellReports says where the reports are that the user asked for.
func (a *app) tellReports(dir string, o reportFlags) {
	out := a.Out
	if o.stdout() || o.json {
		out = a.Err
	}
	for _, s := range o.specs {
		if s.Path != "-" {
			fmt.Fprintf(out, "report %s: %s\n", s.Format.Name, ansi.Printable(s.Place(dir)))
		}
	}
}

// stdout reports whether a report goes to standard output.
func (o *outputFlags) stdout() bool {
	for _, s := range o.specs {
		if s.Path == "-" {
			return true
		}
	}
	return false
}

// open opens specs for the run in dir.
func (a *app) openReports(dir string, specs []report.Spec, earlier *flow.RunDir) (reports, error) {
	var out reports
	for _, s := range specs {
		r, err := s.Open(report.Options{Dir: dir, Stdout: a.Out, Earlier: earlier})
		if err != nil {
			return nil, errors.Join(err, out.Close())
		}
		out = append(out, r)
	}
	return out, nil
}

// reports are several reports as one.
type reports []report.Report

func (rs reports) Start(info flow.Info) {
	for _, r := range rs {
		r.Start(info)
	}
}

func (rs reports) Entry(e flow.Entry) {
	for _, r := range rs {
		r.Entry(e)
	}
}

func (rs reports) Close() (err error) {
	for _, r := range rs {
		err = errors.Join(err, r.Close())
	}
	return err
}

func (a *app) reportCommand() *cobra.Command {
	var o reportFlags
	cmd := &cobra.Command{
		Use:   "report DIR",
		Short: "Print and write the reports of a run again",
		Long: `Makes reports from the run directory DIR: of a run that is over, that was killed, or that still goes on. Without
--report it prints what the run printed, and writes DIR/results.json and DIR/logfile.log again (not while the run
goes on, which writes them itself). With --report it writes those reports instead; a report without a path goes into DIR,
and the path - is standard output.

` + formatHelp(),
		Example: `  vmtb report --report=html --report=junit:junit.xml vmtb-results/20261123-120000
  vmtb report --report=html --compare=vmtb-results/20261122-120000 vmtb-results/20261123-120000
  vmtb report --report=ktap:- vmtb-results/20261123-120000`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: env.CompleteDir,
		RunE: func(cmd *cobra.Command, args []string) error { return a.report(cmd.Context(), o, args[0]) },
	}
	o.outputFlags.add(cmd)
	o.addLook(cmd)
	return cmd
}

func formatHelp() string {
	var b strings.Builder
	b.WriteString("Formats, with their places in DIR:\n")
	for _, f := range report.Formats {
		fmt.Fprintf(&b, "  %-8s %-13s %s\n", f.Name, f.Path, f.Doc)
	}
	return b.String()
}

func (a *app) report(_ context.Context, o reportFlags, dir string) error {
	if err := o.check(); err != nil {
		return err
	}
	run, err := flow.OpenRun(flows.RunDirIn(dir))
	if err != nil {
		return &bench.UsageError{Err: err}
	}
	specs := o.specs
	var all reports
	if len(specs) == 0 {
		f, _ := a.Out.(*os.File)
		look := o.look(f)
		look.Live = false
		all = append(all, report.NewTerminal(a.Out, look))
		if !run.Alive {
			specs = report.Default()
		}
	}
	files, err := a.openReports(run.Info.Dir, specs, o.earlier)
	if err != nil {
		return err
	}
	if err := report.Replay(append(all, files...), run); err != nil {
		return &bench.InfraError{Op: "write the reports", Err: err}
	}
	if o.earlier != nil && len(o.specs) == 0 {
		fmt.Fprint(a.Out, report.Compare(o.earlier, run))
	}
	a.tellReports(run.Info.Dir, o)
	return nil
}
