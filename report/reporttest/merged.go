package reporttest

import (
	"path/filepath"
	"testing"

	"vmtb/flow"
)

// MergedRun merges a run that passed on one DUT with a run that was killed on another. A third DUT
// has no run.
func MergedRun(t testing.TB) *flow.RunDir {
	t.Helper()
	one := PassedRun().Open(t)
	two := Sample{Name: "killed", Tape: Killed(), Torn: `{"seq":7,"ti`}.Open(t)
	return Merged(t, flow.MergeOptions{
		Out:      filepath.Join(t.TempDir(), "merged"),
		Parts:    []flow.Part{{Dir: one.Info.Dir, DUT: "bmg-03"}, {Dir: two.Info.Dir, DUT: "bmg-07"}},
		Expected: []string{"bmg-03", "bmg-07", "ptl-01"},
	})
}

// Merged calls [flow.Merge], and fails the test on an error.
func Merged(t testing.TB, o flow.MergeOptions) *flow.RunDir {
	t.Helper()
	run, err := flow.Merge(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return run
}
