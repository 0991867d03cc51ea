package flows

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/report"
)

// OutputFlags choose additional reports. Every run directory gets the default ones.
type OutputFlags struct {
	Report  []string
	Compare string
	junit   string

	Specs   []report.Spec
	Earlier *flow.RunDir
}

// Add adds all these flags.
func (o *OutputFlags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(
		&o.Report, "report", nil,
		"FORMAT or FORMAT:PATH, may be given several times; formats: "+strings.Join(
			report.FormatNames(), ", ",
		)+" (see vmtb help reports)",
	)
	for _, name := range []string{"junitxml", "junit-xml"} { // pytest's
		flags.StringVar(&o.junit, name, "", "like --report=junit:PATH")
		flags.Lookup(name).Hidden = true
	}
	flags.StringVar(&o.Compare, "compare", "", "run directory of an earlier run to compare with")
	env.CompleteValues(cmd, map[string][]string{"report": report.FormatNames()})
}

// Check sets Specs and Earlier.
func (o *OutputFlags) Check() error {
	o.Specs = nil
	asked := o.Report
	if o.junit != "" {
		asked = append(slices.Clone(asked), "junit:"+o.junit)
	}
	for _, s := range asked {
		spec, err := report.ParseSpec(s)
		if err != nil {
			return err
		}
		o.Specs = append(o.Specs, spec)
	}
	if o.Compare == "" {
		return nil
	}
	run, err := flow.OpenRun(RunDirIn(o.Compare))
	if err != nil {
		return &bench.UsageError{Err: fmt.Errorf("--compare: %w", err)}
	}
	o.Earlier = run
	return nil
}

// CheckTargets checks that the reports of a run in dir can be written. dir is "" if it is not known
// yet. It leaves no files behind.
func (o *OutputFlags) CheckTargets(dir string) error {
	for _, s := range o.Specs {
		if err := s.Check(dir); err != nil {
			return err
		}
	}
	return nil
}

// Stdout reports whether a report is written to standard output.
func (o *OutputFlags) Stdout() bool {
	for _, s := range o.Specs {
		if s.Path == "-" {
			return true
		}
	}
	return false
}

// toLAVA reports whether standard output goes to LAVA. It often shares a terminal with standard
// error.
func (o *OutputFlags) toLAVA() bool {
	return slices.ContainsFunc(o.Specs, func(s report.Spec) bool { return s.Path == "-" && s.Format.Name == "lava" })
}

// OpenReports opens the reports for the run in dir. earlier is a run to compare with, or nil.
func OpenReports(e *env.Env, dir string, specs []report.Spec, earlier *flow.RunDir) (Reports, error) {
	var out Reports
	for _, s := range specs {
		r, err := s.Open(report.Options{Dir: dir, Stdout: e.Out, Earlier: earlier})
		if err != nil {
			return nil, errors.Join(err, out.Close())
		}
		out = append(out, r)
	}
	return out, nil
}

// Reports is a list of reports that is used as one report.
type Reports []report.Report

// Start implements [report.Report].
func (rs Reports) Start(info flow.Info) {
	for _, r := range rs {
		r.Start(info)
	}
}

// Entry implements [report.Report].
func (rs Reports) Entry(e flow.Entry) {
	for _, r := range rs {
		r.Entry(e)
	}
}

// Close implements [report.Report].
func (rs Reports) Close() (err error) {
	for _, r := range rs {
		err = errors.Join(err, r.Close())
	}
	return err
}
