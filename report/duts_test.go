package report

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/flow"
)

func merged(t *testing.T, o flow.MergeOptions, runs ...*flow.RunDir) *flow.RunDir {
	t.Helper()
	for _, r := range runs {
		o.Parts = append(o.Parts, flow.Part{Dir: r.Info.Dir})
	}
	o.Out = filepath.Join(t.TempDir(), filepath.Base(runs[0].Info.Dir))
	run, err := flow.Merge(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// What a run took, and when it ended, may differ: a merged run lasts from its first entry to its
// last.
var runTimes = regexp.MustCompile(`(?m)("end"|"start"): [0-9.]+|"time_elapsed".*|=+ .* in .* =+$|Took [^<]*|^.* (begin|end) run.*$`)

// A run that is merged with no other has the same reports.
func TestMergedAlone(t *testing.T) {
	for _, s := range samples() {
		if s.name == "empty" || s.name == "killed" { // they have no end; a merged run has
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			run := s.open(t)
			again := merged(t, flow.MergeOptions{}, run)
			for _, f := range Formats {
				if f.file == nil || f.Name == "logfile" && s.name == "resumed" { // that journal lacks an end, which a merge writes
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

// Reports of a merged run say which DUT ran what, and which are missing.
func TestMergedGolden(t *testing.T) {
	o := flow.MergeOptions{Expected: []string{"bmg-03", "bmg-07", "ptl-01"}}
	one, two := passedRun().open(t), sample{name: "killed", tape: killed(), torn: `{"seq":7,"ti`}.open(t)
	o.Parts = []flow.Part{{Dir: one.Info.Dir, DUT: "bmg-03"}, {Dir: two.Info.Dir, DUT: "bmg-07"}}
	o.Out = filepath.Join(t.TempDir(), "merged")
	run, err := flow.Merge(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Formats {
		if f.file != nil {
			golden(t, "merged/"+f.Path, write(t, f.Name, run), run)
		}
	}
	var b strings.Builder
	if err := Replay(NewTerminal(&b, TerminalOptions{}), run); err != nil {
		t.Fatal(err)
	}
	golden(t, "merged/terminal.txt", b.String(), run)
	for _, name := range pagesOf(t, writeSite(t, run, nil)) {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "merged/html/"+filepath.Base(name), string(page), run)
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
