// Package report makes reports of a run from its run directory (docs/run-directory.md), while it runs or afterwards.
// A report sees a [flow.Info] and the [flow.Entry] values that follow it, and nothing else: what is printed live is, up to
// the status of what is in progress, what is printed from the directory years later.
//
// [Terminal] is the report for people, in the manner of pytest -v. [Formats] are the others, which go into files:
// docs/reports.md tells of them, and a [Spec] opens one. They may read files of the run directory, by their ends only.
// [Replay] feeds a run that was read with [flow.OpenRun].
//
// A format that needs all of a run at once is a function of its history (history.go): groups of cases that share a
// fixture, cases with their attempts, phases with their steps. Text that a machine wrote goes through clean first.
package report

import "vmtb/flow"

// A Report takes a run: Start once, then Entry for each entry, then Close, which may write the rest and returns the first
// error of the report's writer.
type Report interface {
	Start(flow.Info)
	Entry(flow.Entry)
	Close() error
}

// Replay feeds a run to a report.
func Replay(r Report, run *flow.RunDir) error {
	r.Start(run.Info)
	for _, e := range run.Entries {
		r.Entry(e)
	}
	return r.Close()
}
