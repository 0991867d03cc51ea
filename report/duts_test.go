package report

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/flow"
	"vmtb/report/reporttest"
)

// runTimes matches the duration and the end of a run, which may differ: a merged run lasts from its
// first entry to its last.
var runTimes = regexp.MustCompile(`(?m)("end"|"start"): [0-9.]+|"time_elapsed".*|^.* (begin|end) run.*$`)

// If a single run is merged, its reports stay the same.
func TestMergedAlone(t *testing.T) {
	for _, s := range reporttest.Samples() {
		if s.Name == "empty" || s.Name == "killed" { // they have no end; a merged run has one
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			run := s.Open(t)
			again := reporttest.Merged(t, flow.MergeOptions{
				Out: filepath.Join(t.TempDir(), s.Name), Parts: []flow.Part{{Dir: run.Info.Dir}},
			})
			for _, f := range Formats {
				// the journal of this sample lacks an end, which the merge writes
				if f.file == nil || f.Name == "logfile" && s.Name == "resumed" {
					continue
				}
				normal := func(r *flow.RunDir) string {
					return runTimes.ReplaceAllString(strings.ReplaceAll(write(t, f.Name, r), r.Info.Dir, "RUN"), "TIME")
				}
				if diff := cmp.Diff(normal(run), normal(again)); diff != "" {
					t.Errorf("%s (-run +merged)\n%s", f.Name, diff)
				}
			}
		})
	}
}

// Reports of a merged run show the DUT of each case, and the missing DUTs.
func TestMergedGolden(t *testing.T) {
	run := reporttest.MergedRun(t)
	for _, f := range Formats {
		if f.file != nil {
			reporttest.Golden(t, *update, "merged/"+f.Path, write(t, f.Name, run), run)
		}
	}
	root := checkJUnit(t, write(t, "junit", run))
	hosts := map[string]bool{}
	for _, suite := range root.all("testsuite") {
		hosts[suite.attr("hostname")] = true
	}
	if !hosts["bmg-03"] || !hosts["bmg-07"] {
		t.Errorf("suites of %v", hosts)
	}
}
