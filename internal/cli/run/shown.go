package run

import (
	"context"
	"encoding/json"
	"os"

	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/report"
	"vmtb/report/terminal"
)

// addReport starts the report for the user, and the reports in files. end ends them.
func addReport(e *env.Env, options *flow.Options, o flows.ReportFlags) (end func() error, err error) {
	files, err := flows.OpenReports(e, options.Dir, append(report.Default(), o.Specs...), o.Earlier)
	if err != nil {
		return nil, err
	}
	var shown report.Report
	stop := func() {}
	if o.JSON {
		enc := json.NewEncoder(e.Out)
		enc.SetEscapeHTML(false)
		shown = lines{enc}
	} else {
		out := e.Out
		if o.Stdout() {
			out = e.Err
		}
		f, _ := out.(*os.File)
		t := terminal.New(out, o.Look(f))
		var follow context.Context
		follow, stop = context.WithCancel(context.Background())
		go t.Follow(follow)
		shown = t
	}
	all := append(flows.Reports{shown}, files...)
	options.Started, options.Observer = all.Start, all.Entry
	return func() error { stop(); return all.Close() }, nil
}

// lines prints the journal as it grows. It ignores errors: a reader that disconnects does not end
// the run.
type lines struct{ enc *json.Encoder }

func (l lines) Start(info flow.Info) { _ = l.enc.Encode(info) }
func (l lines) Entry(e flow.Entry)   { _ = l.enc.Encode(e) }
func (l lines) Close() error         { return nil }
