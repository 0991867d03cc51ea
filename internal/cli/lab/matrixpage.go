package lab

import (
	"bytes"
	_ "embed" // for the template
	"encoding/json"
	"html/template"
	"path/filepath"

	"vmtb/bench"
	"vmtb/internal/atomicfile"
	"vmtb/internal/cli/output"
	"vmtb/report/run"
)

//go:embed matrix.tmpl
var matrixTemplate string

var matrixHTML = template.Must(template.New("matrix").Parse(matrixTemplate))

// A pageRow is a row of the page's table: a flow with one kernel of the DUT.
type pageRow struct {
	Kernel string
	Cells  []pageCell
}

// A pageCell is a result in the table.
type pageCell struct {
	Text, Class, Why, Link string
}

// A pageFlow is a flow of the page.
type pageFlow struct {
	ID   string
	Rows []pageRow
}

// pageOf returns what the page shows.
func pageOf(m *output.Matrix) map[string]any {
	classes := map[run.Kind]string{run.Good: "good", run.Bad: "bad", run.Unknown: "unknown", run.Idle: "idle"}
	var flows []pageFlow
	for _, id := range flowsOf(m) {
		f := pageFlow{ID: id}
		for r, kernel := range m.Kernels {
			row := pageRow{Kernel: kernel}
			for i := range m.Guests {
				c := m.Cells[r*len(m.Guests)+i]
				result := resultOf(c, id)
				cell := pageCell{Text: cellText(c, id), Class: "unknown", Why: result.Reason}
				if result.Result != "" {
					cell.Class = classes[run.KindOf(result.Result)]
				}
				if rel, err := filepath.Rel(m.Dir, c.Dir); err == nil && c.Dir != "" && len(c.Results) > 0 {
					cell.Link = filepath.ToSlash(filepath.Join(rel, "logfile.log"))
				}
				row.Cells = append(row.Cells, cell)
			}
			f.Rows = append(f.Rows, row)
		}
		flows = append(flows, f)
	}
	type gap struct {
		output.MatrixDifference
		Lines []string
	}
	var gaps []gap
	for _, d := range m.Differences {
		gaps = append(gaps, gap{d, differenceLines(d)})
	}
	return map[string]any{"Matrix": m, "Flows": flows, "Differences": gaps}
}

// writeMatrix writes the matrix and its page into the directory of the matrix.
func writeMatrix(m *output.Matrix) error {
	compareCells(m)
	data, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = atomicfile.WriteFile(filepath.Join(m.Dir, matrixFile), append(data, '\n'), 0o644)
	}
	var page bytes.Buffer
	if err == nil {
		err = matrixHTML.Execute(&page, pageOf(m))
	}
	if err == nil {
		err = atomicfile.WriteFile(filepath.Join(m.Dir, matrixPage), page.Bytes(), 0o644)
	}
	if err != nil {
		return &bench.InfraError{Op: "write the matrix", Err: err, Advice: "is there space for it?"}
	}
	return nil
}
