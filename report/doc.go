// Package report makes reports of a run from its run directory (docs/run-directory.md), during the
// run or afterwards. A report sees a [flow.Info] and the [flow.Entry] values that follow it, and
// nothing else. So a live report and a later one are the same, except for the status of running
// phases.
//
// [Formats] lists the reports that are files; docs/reports.md describes them. A [Spec] opens one. A
// report may read files of the run directory, but only their ends. [Replay] passes a run that was
// read with [flow.OpenRun] to a report.
//
// This package has the small formats. Package html writes the pages for people. Package terminal
// prints the live output. Package run is the view model of all of them: a format that needs the
// whole run at once is a function of a run.History.
package report

import (
	"errors"

	"vmtb/flow"
)

// A Report receives a run: one call of Start, then one of Entry for each entry, then one of Close.
// Close may write the rest. It returns the first error of the report's writer.
type Report interface {
	Start(flow.Info)
	Entry(flow.Entry)
	Close() error
}

// Replay passes a whole run to a report.
func Replay(r Report, dir *flow.RunDir) error {
	r.Start(dir.Info)
	for e, err := range dir.All() {
		if err != nil {
			return errors.Join(err, r.Close())
		}
		r.Entry(e)
	}
	return r.Close()
}
