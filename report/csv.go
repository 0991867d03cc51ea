package report

import (
	"encoding/csv"
	"io"
	"io/fs"
	"strings"

	"vmtb/report/run"
)

// NewCSV returns a report that writes comma-separated values to w: a line of names, and then a line for each case.
func NewCSV(w io.Writer, fsys fs.FS) Report {
	return newWhole(w, fsys, func(p *printer, h *run.History) {
		var b strings.Builder
		out := csv.NewWriter(&b)
		_ = out.Write([]string{"id", "result", "seconds", "reason"})
		for _, class := range h.Classes() {
			for _, g := range class {
				for _, c := range g.Cases {
					a := c.Last()
					_ = out.Write([]string{c.ID.String(), string(a.Result), seconds2(a.Duration), run.OneLine(a.Reason, 500)})
				}
			}
		}
		out.Flush()
		p.print(b.String())
	})
}
