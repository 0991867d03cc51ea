package run

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/report"
	"vmtb/report/terminal"
)

// printReports prints the paths of the reports that the user requested.
func printReports(e *env.Env, dir string, o flows.ReportFlags) {
	out := e.Out
	if o.Stdout() || o.JSON {
		out = e.Err
	}
	for _, s := range o.Specs {
		if s.Path != "-" {
			fmt.Fprintf(out, "report %s: %s\n", s.Format.Name, ansi.Printable(s.Place(dir)))
		}
	}
}

// reportOptions are the flags of "vmtb report".
type reportOptions struct {
	flows.ReportFlags
}

// ReportCommand returns "vmtb report".
func ReportCommand(e *env.Env) *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report DIR",
		Short: "Print and write the reports of a run again",
		Long: `Makes reports from the run directory DIR of a run that has ended, was killed, or is still
running. Without --report it prints the run's output again, and writes DIR/results.json and DIR/logfile.log
(not during the run, which writes them itself). With --report it writes those reports instead; a report
without a path goes into DIR, and the path - is standard output.

` + formatHelp(),
		Example: `  vmtb report --report=html --report=junit:junit.xml vmtb-results/20261123-120000
  vmtb report --report=html --compare=vmtb-results/20261122-120000 vmtb-results/20261123-120000
  vmtb report --report=ktap:- vmtb-results/20261123-120000`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: env.CompleteDir,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(e, args[0]) },
	}
	o.OutputFlags.Add(cmd)
	o.AddLook(cmd)
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

func (o *reportOptions) run(e *env.Env, dir string) error {
	if err := o.Check(); err != nil {
		return err
	}
	run, err := flow.OpenRun(flows.RunDirIn(dir))
	if err != nil {
		return &bench.UsageError{Err: err}
	}
	specs := o.Specs
	var all flows.Reports
	if len(specs) == 0 {
		f, _ := e.Out.(*os.File)
		look := o.Look(f)
		look.Live = false
		all = append(all, terminal.New(e.Out, look))
		if !run.Alive {
			specs = report.Default()
		}
	}
	files, err := flows.OpenReports(e, run.Info.Dir, specs, o.Earlier)
	if err != nil {
		return err
	}
	if err := report.Replay(append(all, files...), run); err != nil {
		return &bench.InfraError{Op: "write the reports", Err: err}
	}
	if o.Earlier != nil && len(o.Specs) == 0 {
		fmt.Fprint(e.Out, report.Compare(o.Earlier, run))
	}
	printReports(e, run.Info.Dir, o.ReportFlags)
	return nil
}
