// Package report makes reports of a run from its run directory (docs/run-directory.md), while the run
// goes on or afterwards. A report sees a [flow.Info] and the [flow.Entry] values that follow it, and
// nothing else: a run looks the same live, up to the status of what is in progress, and from its
// directory years later.
//
// [Formats] lists the reports that go into files; docs/reports.md describes them. A [Spec] opens one.
// They may read files of the run directory, but only the ends of files. [Replay] feeds a run to a
// report that was read with [flow.OpenRun].
//
// The small formats are in this package. Package html writes the pages for people, package terminal
// prints what people see while a run goes on, and package run is the view model of all: a format that
// needs the whole run at once is a function of a run.History.
package report

import (
	"errors"

	"vmtb/flow"
)

// A Report takes a run: Start once, then Entry for each entry, then Close. Close may write the rest,
// and returns the first error of the report's writer.
type Report interface {
	Start(flow.Info)
	Entry(flow.Entry)
	Close() error
}

// Replay feeds a run to a report.
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
