package report

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"vmtb/flow"
	"vmtb/report/run"
)

// ktapLines is the largest number of diagnostic lines of a test.
const ktapLines = 200

// NewKTAP returns a report that writes the kernel's Test Anything Protocol, version 1
// (Documentation/dev-tools/ktap.rst), to w. Tests nest: class, parameter, case. fsys is the run
// directory.
func NewKTAP(w io.Writer, fsys fs.FS) Report {
	return newWhole(w, fsys, func(p *printer, h *run.History) {
		var tests []*ktapTest
		for _, class := range h.Classes() {
			tests = append(tests, ktapClass(class))
		}
		p.print(fmt.Sprintf("KTAP version 1\n1..%d\n", len(tests)))
		if s := h.Info.Participants(); s != "" {
			p.print("# " + run.OneLine(s, 2000) + "\n")
		}
		for i, t := range tests {
			t.write(p, "", i+1)
		}
	})
}

// A ktapTest is a result line, with subtests and diagnostic lines before it.
type ktapTest struct {
	name      string
	ok        bool
	directive string        // "SKIP reason"
	notes     func() string // returns the diagnostic lines, which may be long; nil: none
	tests     []*ktapTest
}

func ktapClass(class []*run.Group) *ktapTest {
	t := &ktapTest{name: run.ClassName(class[0].ID)}
	for _, g := range class {
		sub := ktapGroup(g)
		if g.ID.Param == "" && len(class) == 1 {
			t.tests = sub.tests // a level with one entry is left out
			break
		}
		t.tests = append(t.tests, sub)
	}
	t.sum()
	return t
}

func ktapGroup(g *run.Group) *ktapTest {
	t := &ktapTest{name: g.ID.Param}
	if t.name == "" {
		t.name = "no parameter"
	}
	for _, c := range g.Cases {
		t.tests = append(t.tests, ktapCase(c))
	}
	for _, bad := range g.Trouble() {
		t.tests = append(t.tests, &ktapTest{
			name: bad.Name, directive: "ERROR " + run.OneLine(bad.Reason, 500), notes: bad.Why,
		})
	}
	t.sum()
	return t
}

func ktapCase(c *run.Case) *ktapTest {
	a := c.Last()
	t := &ktapTest{name: c.ID.Case, ok: !run.Failed(a.Result), notes: func() string { return ktapNotes(c) }}
	reason := strings.TrimSpace(run.OneLine(a.Reason, 500))
	switch a.Result {
	case flow.Skip:
		t.directive = "SKIP " + reason
	case flow.NotRun:
		t.directive = "SKIP not run: " + reason
	case flow.Timeout:
		t.directive = "TIMEOUT " + reason
	case flow.Error, flow.Incomplete, run.Aborted:
		t.directive = "ERROR " + string(a.Result) + ": " + reason
	}
	if c.Excused() {
		t.directive = "TODO " + c.Excuse()
	}
	return t
}

// ktapNotes returns the diagnostic lines of a case.
func ktapNotes(c *run.Case) string {
	a := c.Last()
	var before strings.Builder
	for i, b := range c.Attempts[:len(c.Attempts)-1] {
		fmt.Fprintf(&before, "attempt %d: %s %s\n", i+1, b.Result, run.OneLine(b.Reason, 500))
	}
	notes := before.String() + a.Transcript(seconds2)
	if a.Result != flow.Pass && a.Result != flow.Skip && a.Result != flow.NotRun {
		notes += string(a.Result) + "\n" + a.Why()
	}
	if a.DUT != "" {
		notes += "ran" + run.On(a.Entry) + "\n"
	}
	if a.Duration > 0 {
		notes += "took " + seconds2(a.Duration) + "\n"
	}
	return notes
}

// sum sets the result of a test from the results of its subtests.
func (t *ktapTest) sum() {
	t.ok, t.directive = true, "SKIP none of these ran"
	for _, sub := range t.tests {
		t.ok = t.ok && (sub.ok || strings.HasPrefix(sub.directive, "TODO"))
		if !strings.HasPrefix(sub.directive, "SKIP") {
			t.directive = ""
		}
	}
	if len(t.tests) == 0 {
		t.directive = ""
	}
}

func (t *ktapTest) write(p *printer, indent string, n int) {
	if len(t.tests) > 0 {
		p.print(fmt.Sprintf("%s  KTAP version 1\n%s  1..%d\n", indent, indent, len(t.tests)))
		for i, sub := range t.tests {
			sub.write(p, indent+"  ", i+1)
		}
	}
	var notes string
	if t.notes != nil {
		notes = t.notes()
	}
	lines := strings.Split(strings.TrimSuffix(notes, "\n"), "\n")
	if left := len(lines) - ktapLines; left > 0 {
		lines = append([]string{fmt.Sprintf("[%d lines are left out]", left)}, lines[left:]...)
	}
	for _, line := range lines {
		if line != "" {
			p.print(indent + "# " + line + "\n")
		}
	}
	status, directive := "ok", ""
	if !t.ok {
		status = "not ok"
	}
	if t.directive != "" {
		directive = " # " + strings.TrimSpace(t.directive)
	}
	p.print(fmt.Sprintf("%s%s %d %s%s\n", indent, status, n, ktapName(t.name), directive))
}

// ktapName returns s with "_" for "#", because "#" begins a directive.
func ktapName(s string) string {
	return cmp.Or(strings.ReplaceAll(run.OneLine(s, 1000), "#", "_"), "unnamed")
}
