package report

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"vmtb/flow"
)

// ktapLines bounds the diagnostic lines of a test.
const ktapLines = 200

// NewKTAP writes the kernel's Test Anything Protocol, version 1 (Documentation/dev-tools/ktap.rst), to w: a test for each
// class, in it one for each parameter, in it one for each case. fsys is the run directory.
func NewKTAP(w io.Writer, fsys fs.FS) Report {
	return newWhole(w, fsys, func(p *printer, h *history) {
		var tests []*ktapTest
		for _, class := range h.classes() {
			tests = append(tests, ktapClass(class))
		}
		p.print(fmt.Sprintf("KTAP version 1\n1..%d\n", len(tests)))
		if s := h.info.Participants(); s != "" {
			p.print("# " + oneLine(s, 2000) + "\n")
		}
		for i, t := range tests {
			t.write(p, "", i+1)
		}
	})
}

// A ktapTest is a line of result, with subtests and diagnostic lines before it.
type ktapTest struct {
	name      string
	ok        bool
	directive string // "SKIP reason"
	notes     string
	tests     []*ktapTest
}

func ktapClass(class []*group) *ktapTest {
	t := &ktapTest{name: className(class[0].id)}
	for _, g := range class {
		sub := ktapGroup(g)
		if g.id.Param == "" && len(class) == 1 {
			t.tests = sub.tests // a level of which there is one only tells nothing
			break
		}
		t.tests = append(t.tests, sub)
	}
	t.sum()
	return t
}

func ktapGroup(g *group) *ktapTest {
	t := &ktapTest{name: g.id.Param}
	if t.name == "" {
		t.name = "no parameter"
	}
	for _, c := range g.cases {
		t.tests = append(t.tests, ktapCase(c))
	}
	for _, bad := range g.trouble() {
		t.tests = append(t.tests, &ktapTest{name: bad.name, directive: "ERROR " + oneLine(bad.Reason, 500), notes: bad.why()})
	}
	t.sum()
	return t
}

func ktapCase(c *testCase) *ktapTest {
	a := c.last()
	t := &ktapTest{name: c.ID.Case, ok: !failed(a.Result)}
	reason := strings.TrimSpace(oneLine(a.Reason, 500))
	switch a.Result {
	case flow.Skip:
		t.directive = "SKIP " + reason
	case flow.NotRun:
		t.directive = "SKIP not run: " + reason
	case flow.Timeout:
		t.directive = "TIMEOUT " + reason
	case flow.Error, flow.Incomplete, aborted:
		t.directive = "ERROR " + string(a.Result) + ": " + reason
	}
	if c.excused() {
		t.directive = "TODO " + c.excuse()
	}
	for i, before := range c.attempts[:len(c.attempts)-1] {
		t.notes += fmt.Sprintf("attempt %d: %s %s\n", i+1, before.Result, oneLine(before.Reason, 500))
	}
	t.notes += a.transcript(seconds2)
	if a.Result != flow.Pass && a.Result != flow.Skip && a.Result != flow.NotRun {
		t.notes += string(a.Result) + "\n" + a.why()
	}
	if a.DUT != "" {
		t.notes += "ran" + on(a.Entry) + "\n"
	}
	if a.Duration > 0 {
		t.notes += "took " + seconds2(a.Duration) + "\n"
	}
	return t
}

// sum is the result of a test from those of its subtests.
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
	lines := strings.Split(strings.TrimSuffix(t.notes, "\n"), "\n")
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

// ktapName is a name without what begins a directive.
func ktapName(s string) string {
	return cmp.Or(strings.ReplaceAll(oneLine(s, 1000), "#", "_"), "unnamed")
}
