package report

import (
	"encoding/csv"
	"strings"
	"testing"

	"vmtb/report/reporttest"
)

func TestCSV(t *testing.T) {
	for _, s := range reporttest.Samples() {
		dir := s.Open(t)
		lines, err := csv.NewReader(strings.NewReader(write(t, "csv", dir))).ReadAll()
		if err != nil || len(lines) != 1+len(dir.Info.Plan) && s.Name != "resumed" {
			t.Errorf("%s: %d lines, %v", s.Name, len(lines), err)
		}
	}
}
