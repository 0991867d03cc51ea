package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/prose"
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

// maxProblems bounds the problems that are told at length on the first page.
const maxProblems = 60

func (s *site) index() indexView {
	h := s.h
	sum := h.summary()
	v := indexView{
		frame: s.frame("vmtb: "+h.title(), "index"), Heading: h.title(), DUT: clean(h.info.DUT), When: h.when(sum.Duration),
		Chart: s.overview(), Classes: s.classes(), Facts: h.facts(), Command: clean(bench.Command{Argv: h.info.Argv}.String()),
	}
	v.Verdict, v.VerdictClass = verdict(sum)
	for _, n := range h.info.Notes {
		v.Notes = append(v.Notes, clean(n))
	}
	var config bytes.Buffer
	if json.Indent(&config, h.info.Config, "", "  ") == nil {
		v.Config = clean(config.String())
	}
	if sum.Unrestored != "" {
		v.Alerts = append(v.Alerts, alert{"The host was not put back as it was", clean(sum.Unrestored)})
	} else if sum.Stopped != "" {
		v.Alerts = append(v.Alerts, alert{"The run did not come to its end", clean(sum.Stopped)})
	}
	if s := h.info.Participants(); strings.Contains(s, "missing") {
		v.Alerts = append(v.Alerts, alert{"DUTs are missing", clean(s)})
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

// title is what a run is called: after the time of its beginning.
func (h *history) title() string {
	return "Run of " + h.info.Start.UTC().Format("2 January 2006, 15:04")
}

func (h *history) when(d time.Duration) string {
	s := "Took " + prose.Duration(d)
	if h.info.TimeoutScale != 1 && h.info.TimeoutScale != 0 {
		s += fmt.Sprintf(", timeouts times %g", h.info.TimeoutScale)
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
	for _, r := range results {
		n := s.Counts[r]
		if n == 0 {
			continue
		}
		anchor := "all"
		if failed(r) {
			anchor = "problems"
		}
		v.Counts = append(v.Counts, countView{n, counted[r], string(r), anchor})
		share := 100 * float64(n) / float64(total)
		v.Proportions = append(v.Proportions, bar{x: at, w: share, Class: string(r), Title: tally(n, r)})
		at += share
	}
	if s.Errors > 0 {
		v.Counts = append(v.Counts, countView{s.Errors, "tear-down errors", "error", "problems"})
	}
}

// problems is everything that somebody has to look at, in the order of the plan.
func (s *site) problems() []problemView {
	var out []problemView
	for _, g := range s.h.groups {
		for _, c := range g.cases {
			if a := c.last(); failed(a.Result) {
				p := problemView{clean(c.Name), s.caseHref(c.ID), resultClass(a.Result), caseNote(c), problemText(a), facts(a)}
				out = append(out, p)
			}
		}
		for _, bad := range g.trouble() {
			out = append(out, problemView{clean(g.id.String()) + " " + bad.name, s.groupPage(g) + "#fixture", resultClass(bad.Result), "", problemText(bad.phase), facts(bad.phase)})
		}
	}
	return out
}

// problemText is a reason in full, if it is not too long for a list.
func problemText(p *phase) string {
	const most = 2000
	text := clean(strings.TrimSpace(p.Reason))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "\n[...]"
	}
	if text == "" {
		return string(p.Result)
	}
	return text
}

// facts is what is known of a result beside its reason, on a line.
func facts(p *phase) string {
	var parts []string
	if p.DUT != "" {
		parts = append(parts, strings.TrimSpace(on(p.Entry)))
	}
	if p.Blame != "" {
		parts = append(parts, "fault of "+blame(p.Blame))
	}
	if p.Where != "" {
		parts = append(parts, "at "+clean(p.Where))
	}
	if p.Abandoned {
		parts = append(parts, "its code did not come back and was abandoned")
	}
	return strings.Join(parts, " · ")
}

func caseNote(c *testCase) string {
	return strings.TrimSpace(attemptNote(c) + on(c.last().Entry))
}

func attemptNote(c *testCase) string {
	switch {
	case c.excused():
		return c.excuse()
	case c.flaky():
		return fmt.Sprintf("flaky: attempt %d passed", len(c.attempts))
	case len(c.attempts) > 1:
		return fmt.Sprintf("%d attempts", len(c.attempts))
	}
	return ""
}

func (s *site) classes() []classView {
	var out []classView
	for _, class := range s.h.classes() {
		v := classView{Name: clean(className(class[0].id)), Anchor: classAnchor(class[0].id), Doc: clean(class[0].doc)}
		for _, g := range class {
			for _, c := range g.cases {
				a := c.last()
				row := caseRow{Case: clean(c.ID.Case), Param: clean(c.ID.Param), Href: s.caseHref(c.ID), Class: resultClass(a.Result), Note: caseNote(c)}
				if a.Result != flow.Pass {
					row.Reason = oneLine(a.Reason, 200)
				}
				if !a.began.IsZero() {
					row.Took = prose.Duration(a.Duration)
				}
				v.Cases = append(v.Cases, row)
			}
		}
		out = append(out, v)
	}
	return out
}

// resultClass is a result as a class of the style sheet.
func resultClass(r flow.Result) string {
	if _, ok := igtResults[r]; ok {
		return string(r)
	}
	return "incomplete"
}

// facts are the environment of the run.
func (h *history) facts() []flow.Fact {
	out := []flow.Fact{{Name: "machine under test", Value: clean(h.info.DUT)}, {Name: "vmtb", Value: clean(h.info.Version)}}
	for _, f := range h.info.Environment {
		out = append(out, flow.Fact{Name: clean(f.Name), Value: clean(f.Value)})
	}
	out = append(out, h.dutFacts()...)
	return append(out,
		flow.Fact{Name: "run directory", Value: clean(path.Clean(filepath.ToSlash(h.info.Dir)))},
		flow.Fact{Name: "boot id", Value: clean(h.info.BootID)},
		flow.Fact{Name: "began", Value: h.info.Start.UTC().Format("2006-01-02 15:04:05 MST")},
	)
}
