package html

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/report/run"
)

type indexView struct {
	frame
	Heading, Verdict, VerdictClass string
	DUT, When                      string
	Alerts                         []alert
	Proportions                    []bar
	Counts                         []countView
	Comparison                     *comparisonView
	Problems                       []problemView
	ProblemsLeft                   int
	Chart                          chart
	Classes                        []classView
	Facts                          []flow.Fact
	Notes                          []string
	Command, Config                string
}

type alert struct{ Head, Text string }

type countView struct {
	N                   int
	Word, Class, Anchor string
}

type problemView struct {
	Name, Href, Class, Note, Reason, Facts string
}

type classView struct {
	Name, Anchor, Doc string
	Cases             []caseRow
}

type caseRow struct{ Case, Param, Href, Class, Reason, Took, Note string }

// maxProblems is the largest number of problems that the first page shows in full.
const maxProblems = 60

func (s *site) index() indexView {
	h := s.h
	sum := h.Summary()
	v := indexView{
		frame: s.frame(
			"vmtb: "+title(h.Info), "index",
		), Heading: title(h.Info), DUT: run.Clean(h.Info.DUT), When: when(h.Info, sum.Duration),
		Chart: s.overview(), Classes: s.classes(), Facts: environment(h), Command: run.Clean(
			bench.Command{Argv: h.Info.Argv}.String(),
		),
	}
	v.Verdict, v.VerdictClass = verdict(sum)
	for _, n := range h.Info.Notes {
		v.Notes = append(v.Notes, run.Clean(n))
	}
	var config bytes.Buffer
	if json.Indent(&config, h.Info.Config, "", "  ") == nil {
		v.Config = run.Clean(config.String())
	}
	if sum.Unrestored != "" {
		v.Alerts = append(v.Alerts, alert{"The host was not restored", run.Clean(sum.Unrestored)})
	} else if sum.Stopped != "" {
		v.Alerts = append(v.Alerts, alert{"The run ended early", run.Clean(sum.Stopped)})
	}
	if s := h.Info.Participants(); strings.Contains(s, "missing") {
		v.Alerts = append(v.Alerts, alert{"DUTs are missing", run.Clean(s)})
	}
	v.count(sum)
	v.Problems = s.problems()
	if n := len(v.Problems) - maxProblems; n > 0 {
		v.Problems, v.ProblemsLeft = v.Problems[:maxProblems], n
	}
	if s.comparison != nil {
		c := s.compareView()
		v.Comparison = &c
	}
	return v
}

// title returns a title for a run: the time of its begin.
func title(info flow.Info) string {
	return "Run of " + info.Start.UTC().Format("2 January 2006, 15:04")
}

func when(info flow.Info, d time.Duration) string {
	s := "Took " + prose.Duration(d)
	if info.TimeoutScale != 1 && info.TimeoutScale != 0 {
		s += fmt.Sprintf(", timeouts times %g", info.TimeoutScale)
	}
	return s
}

func verdict(s flow.Summary) (word, class string) {
	switch s.ExitCode() {
	case flow.ExitPass:
		if s.Counts[flow.Pass]+s.Counts[flow.DmesgWarn] == 0 {
			return "nothing ran", "skip"
		}
		return "passed", "pass"
	case flow.ExitFail:
		return "failed", "fail"
	case flow.ExitInterrupted:
		return "interrupted", "incomplete"
	case flow.ExitAborted:
		return "ended early", "error"
	case flow.ExitNotRestored:
		return "host not restored", "fail"
	}
	if s.Counts[flow.DmesgFail] > 0 {
		return "failed", "fail"
	}
	return "errors", "error"
}

func (v *indexView) count(s flow.Summary) {
	total := 0
	for _, n := range s.Counts {
		total += n
	}
	at := 0.0
	for _, r := range run.Results {
		n := s.Counts[r]
		if n == 0 {
			continue
		}
		anchor := "all"
		if run.Failed(r) {
			anchor = "problems"
		}
		v.Counts = append(v.Counts, countView{n, run.Counted(r), string(r), anchor})
		share := 100 * float64(n) / float64(total)
		v.Proportions = append(v.Proportions, bar{x: at, w: share, Class: string(r), Title: run.Tally(n, r)})
		at += share
	}
	if s.Errors > 0 {
		v.Counts = append(v.Counts, countView{s.Errors, "tear-down errors", "error", "problems"})
	}
}

// problems returns the problems that the user should look at, in the order of the plan.
func (s *site) problems() []problemView {
	var out []problemView
	for _, g := range s.h.Groups {
		for _, c := range g.Cases {
			if a := c.Last(); run.Failed(a.Result) {
				p := problemView{
					run.Clean(c.Name), s.caseHref(c.ID), resultClass(a.Result), caseNote(c), problemText(a), facts(a),
				}
				out = append(out, p)
			}
		}
		for _, bad := range g.Trouble() {
			out = append(out, problemView{
				run.Clean(g.ID.String()) + " " + bad.Name, s.groupPage(g) + "#fixture", resultClass(bad.Result), "",
				problemText(bad.Phase), facts(bad.Phase),
			})
		}
	}
	return out
}

// problemText returns a phase's reason, shortened if it is too long for a list.
func problemText(p *run.Phase) string {
	const most = 2000
	text := run.Clean(strings.TrimSpace(p.Reason))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "\n[...]"
	}
	if text == "" {
		return string(p.Result)
	}
	return text
}

// facts returns the known facts about a result other than its reason, on one line.
func facts(p *run.Phase) string {
	var parts []string
	if p.DUT != "" {
		parts = append(parts, strings.TrimSpace(run.On(p.Entry)))
	}
	if p.Blame != "" {
		parts = append(parts, "fault of "+run.Blamed(p.Blame))
	}
	if p.Where != "" {
		parts = append(parts, "at "+run.Clean(p.Where))
	}
	if p.Abandoned {
		parts = append(parts, "its code did not return and was abandoned")
	}
	return strings.Join(parts, " · ")
}

func caseNote(c *run.Case) string {
	return strings.TrimSpace(attemptNote(c) + run.On(c.Last().Entry))
}

func attemptNote(c *run.Case) string {
	switch {
	case c.Excused():
		return c.Excuse()
	case c.Flaky():
		return fmt.Sprintf("flaky: attempt %d passed", len(c.Attempts))
	case len(c.Attempts) > 1:
		return fmt.Sprintf("%d attempts", len(c.Attempts))
	}
	return ""
}

func (s *site) classes() []classView {
	var out []classView
	for _, class := range s.h.Classes() {
		v := classView{
			Name: run.Clean(run.ClassName(class[0].ID)), Anchor: classAnchor(class[0].ID), Doc: run.Clean(class[0].Doc),
		}
		for _, g := range class {
			for _, c := range g.Cases {
				a := c.Last()
				row := caseRow{
					Case: run.Clean(c.ID.Case), Param: run.Clean(c.ID.Param), Href: s.caseHref(c.ID),
					Class: resultClass(a.Result),
					Note:  caseNote(c),
				}
				if a.Result != flow.Pass {
					row.Reason = run.OneLine(a.Reason, 200)
				}
				if !a.Began.IsZero() {
					row.Took = prose.Duration(a.Duration)
				}
				v.Cases = append(v.Cases, row)
			}
		}
		out = append(out, v)
	}
	return out
}

// resultClass returns the CSS class of a result.
func resultClass(r flow.Result) string {
	if slices.Contains(run.Results, r) {
		return string(r)
	}
	return "incomplete"
}

// environment returns the known facts about the machine under test and the run.
func environment(h *run.History) []flow.Fact {
	info := h.Info
	out := []flow.Fact{
		{Name: "machine under test", Value: run.Clean(info.DUT)}, {Name: "vmtb", Value: run.Clean(info.Version)},
	}
	for _, f := range info.Environment {
		out = append(out, flow.Fact{Name: run.Clean(f.Name), Value: run.Clean(f.Value)})
	}
	out = append(out, h.MachineFacts()...)
	out = append(out, run.DUTFacts(info)...)
	return append(out,
		flow.Fact{Name: "run directory", Value: run.Clean(path.Clean(filepath.ToSlash(info.Dir)))},
		flow.Fact{Name: "boot id", Value: run.Clean(info.BootID)},
		flow.Fact{Name: "began", Value: info.Start.UTC().Format("2006-01-02 15:04:05 MST")},
	)
}
