package run

import (
	"strings"
	"testing"

	"vmtb/internal/prose"
	"vmtb/report/reporttest"
)

// A flow that never stops talking does not fill the memory: the newest lines are kept.
func TestManyLines(t *testing.T) {
	tp := reporttest.NewTape(reporttest.Boot("1VF"))
	id := reporttest.Boot("1VF")
	tp.Begin("case", id)
	for range 20000 {
		tp.Log("INFO", strings.Repeat("x", 100), id)
		tp.Step("step", id, 0, tp.Entries[0])
	}
	tp.Log("INFO", "the last words", id)
	h := New(tp.Info)
	for _, e := range tp.Entries {
		h.Add(e)
	}
	h.Finish()
	p := h.Cases[id].Last()
	if len(p.Steps) > maxSteps || p.logged > maxLog || !strings.HasSuffix(
		strings.TrimSpace(p.Transcript(prose.Duration)), "the last words",
	) {
		t.Errorf("%d steps, %d bytes of log", len(p.Steps), p.logged)
	}
	if p.Left != 20001-len(p.Log)+20000-maxSteps {
		t.Errorf("%d are said to be left out", p.Left)
	}
}
