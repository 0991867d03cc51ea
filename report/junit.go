package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"vmtb/flow"
)

// How much of what a test said goes into JUnit XML: GitLab takes files of less than 30 MB.
const (
	junitFile = 20 << 20
	junitOut  = 16 << 10 // each of a test's outputs, if there are not too many tests
)

// NewJUnit writes JUnit XML to w, as Jenkins and GitLab read it; fsys is the run directory.
func NewJUnit(w io.Writer, fsys fs.FS) Report { return newWhole(w, fsys, writeJUnit) }

type junitCounts struct {
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Errors   int    `xml:"errors,attr"`
	Skipped  int    `xml:"skipped,attr"`
	Time     string `xml:"time,attr"` // seconds

	took time.Duration
}

// add counts a test. A suite's time is set by itself: fixtures and attempts before the last take time, too.
func (c *junitCounts) add(t *junitCase) {
	c.Tests++
	switch {
	case t.Error != nil:
		c.Errors++
	case t.Failure != nil:
		c.Failures++
	case t.Skipped != nil:
		c.Skipped++
	}
}

func (c *junitCounts) addSuite(s junitCounts, took time.Duration) {
	c.Tests += s.Tests
	c.Failures += s.Failures
	c.Errors += s.Errors
	c.Skipped += s.Skipped
	c.took += took
	c.Time = junitTime(c.took)
}

// tookInAll is the time of a DUT's phases of groups: fixtures, and all attempts of cases.
func tookInAll(groups []*group, dut string) time.Duration {
	var sum time.Duration
	for _, g := range groups {
		for _, p := range g.phases {
			if p.DUT == dut {
				sum += max(0, p.Duration)
			}
		}
	}
	return sum
}

// hostName is the name at the beginning of dut, a line such as "dut-7, Linux 6.19.0, Battlemage". Where no name is there it is
// "localhost", as Ant's JUnit task writes it.
func hostName(dut string) string {
	const letters = "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
	name := dut[:len(dut)-len(strings.TrimLeft(dut, letters))]
	return cmp.Or(name, "localhost")
}

func junitTime(d time.Duration) string { return fmt.Sprintf("%.3f", max(0, d).Seconds()) }

type junitSuite struct {
	XMLName xml.Name `xml:"testsuite"`
	Name    string   `xml:"name,attr"`
	junitCounts
	Timestamp  string          `xml:"timestamp,attr"`
	Hostname   string          `xml:"hostname,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []*junitCase
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

// A junitCase has its children in the order of the schema; only the suite's consumers differ in what they read.
type junitCase struct {
	XMLName   xml.Name       `xml:"testcase"`
	Name      string         `xml:"name,attr"`
	Classname string         `xml:"classname,attr"`
	File      string         `xml:"file,attr,omitempty"`
	Time      string         `xml:"time,attr"`
	Skipped   *junitProblem  `xml:"skipped"`
	Error     *junitProblem  `xml:"error"`
	Failure   *junitProblem  `xml:"failure"`
	Reruns    []junitProblem `xml:"rerunFailure"` // attempts after the first, when none passed
	Flakes    []junitProblem `xml:"flakyFailure"` // attempts before one that passed
	Out       *junitText     `xml:"system-out"`
	Err       *junitText     `xml:"system-err"`
}

type junitProblem struct {
	Message string `xml:"message,attr,omitempty"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",cdata"`
}

type junitText struct {
	Text string `xml:",cdata"`
}

func newJUnitText(s string) *junitText {
	if s == "" {
		return nil
	}
	return &junitText{s}
}

func writeJUnit(p *printer, h *history) {
	var all junitCounts
	all.Time = junitTime(0)
	limit := junitOut
	if n := 3 * max(1, len(h.cases)); limit > junitFile/n {
		limit = junitFile / n
	}
	var suites []junitSuite
	for _, class := range h.classes() {
		for _, dut := range dutsOf(class) {
			s := h.junitSuite(p, class, dut, limit)
			all.addSuite(s.junitCounts, tookInAll(class, dut))
			suites = append(suites, s)
		}
	}
	p.print(xml.Header)
	enc := xml.NewEncoder(p)
	enc.Indent("", "  ")
	p.fail(enc.Encode(struct {
		XMLName xml.Name `xml:"testsuites"`
		Name    string   `xml:"name,attr"`
		junitCounts
		Suites []junitSuite
	}{Name: "vmtb", junitCounts: all, Suites: suites}))
	p.print("\n")
}

// junitSuite is a class, or what of it a DUT of a merged run has done.
func (h *history) junitSuite(p *printer, class []*group, dut string, limit int) junitSuite {
	s := junitSuite{
		Name: dotted(class[0].id), Timestamp: h.info.Start.UTC().Format("2006-01-02T15:04:05"), Hostname: h.hostOf(dut),
		Properties: h.junitProperties(dut), junitCounts: junitCounts{Time: junitTime(0)},
	}
	for _, g := range class {
		for _, c := range g.cases {
			if c.last().DUT == dut {
				s.Cases = append(s.Cases, h.junitCase(p, c, limit))
			}
		}
		s.Cases = append(s.Cases, junitTrouble(g, dut, limit)...)
	}
	for _, c := range s.Cases {
		s.add(c)
	}
	s.Time = junitTime(tookInAll(class, dut))
	return s
}

// dotted is the class as JUnit names one: "test_basic.TestVmSetup".
func dotted(id flow.ID) string { return strings.ReplaceAll(className(id), "::", ".") }

func (h *history) junitProperties(dut string) []junitProperty {
	line, environment := h.describe(dut)
	props := []junitProperty{{"vmtb", clean(h.info.Version)}, {"dut", oneLine(line, 500)}, {"run directory", oneLine(h.info.Dir, 500)}}
	if s := h.info.Participants(); s != "" {
		props = append(props, junitProperty{"participants", oneLine(s, 2000)})
	}
	for _, f := range environment {
		props = append(props, junitProperty{oneLine(f.Name, 100), oneLine(f.Value, 1000)})
	}
	return props
}

func (h *history) junitCase(p *printer, c *testCase, limit int) *junitCase {
	a := c.last()
	t := &junitCase{Name: oneLine(caseName(c.ID), 1000), Classname: dotted(c.ID), Time: junitTime(a.Duration), File: whereFile(a.Where)}
	t.problem(c, limit)
	t.Out = newJUnitText(lastBytes(a.transcript(seconds2), limit) + h.attachments(p, a))
	t.Err = newJUnitText(lastBytes(p.dmesg(a, int64(limit)), limit))
	return t
}

// problem says why the case did not pass. The first attempt is the failure, what follows are reruns of it.
func (t *junitCase) problem(c *testCase, limit int) {
	if kindOf(c.last().Result) == good {
		for _, a := range c.attempts[:len(c.attempts)-1] {
			if failed(a.Result) {
				t.Flakes = append(t.Flakes, junitProblemOf(a, limit))
			}
		}
		return
	}
	first := c.attempts[0]
	if !failed(first.Result) {
		first = c.last()
	}
	problem := junitProblemOf(first, limit)
	switch kind := kindOf(first.Result); {
	case c.excused():
		problem.Message = c.excuse() + ": " + problem.Message
		t.Skipped = &problem
	case kind == idle:
		t.Skipped = &problem
	case kind == unknown:
		t.Error = &problem
	default:
		t.Failure = &problem
	}
	for _, a := range c.attempts[1:] {
		if a != first && failed(a.Result) {
			t.Reruns = append(t.Reruns, junitProblemOf(a, limit))
		}
	}
}

func junitProblemOf(a *phase, limit int) junitProblem {
	message := oneLine(a.Reason, 500)
	if message == "" {
		message = string(a.Result)
	}
	return junitProblem{Message: message, Type: oneLine(string(a.Result), 50), Text: lastBytes(a.why(), limit)}
}

// junitTrouble is an erroneous test for each phase of the fixture that went wrong without being the result of a case.
func junitTrouble(g *group, dut string, limit int) []*junitCase {
	var out []*junitCase
	for _, bad := range g.trouble() {
		if bad.DUT != dut {
			continue
		}
		problem := junitProblemOf(bad.phase, limit)
		name := flow.ID{File: bad.name, Param: g.id.Param}.String()
		out = append(out, &junitCase{
			Name: oneLine(name, 1000), Classname: dotted(g.id), Time: junitTime(bad.Duration),
			File: whereFile(bad.Where), Error: &problem,
		})
	}
	return out
}

// whereFile is the file of "basic/basic.go:41".
func whereFile(where string) string {
	file, _, _ := strings.Cut(where, ":")
	return oneLine(file, 200)
}

// attachments are lines that Jenkins (with its attachments plug-in) and GitLab turn into links: the files that the case left.
func (h *history) attachments(p *printer, a *phase) string {
	if a.Dir == "" || !fs.ValidPath(a.Dir) {
		return ""
	}
	entries, err := fs.ReadDir(p.fsys, a.Dir)
	if err != nil {
		return "" // a case that did not run has no folder
	}
	var b strings.Builder
	for _, e := range entries[:min(len(entries), 50)] {
		if e.Type().IsRegular() {
			name := filepath.Join(h.info.Dir, path.Join(a.Dir, e.Name()))
			fmt.Fprintf(&b, "[[ATTACHMENT|%s]]\n", oneLine(name, 4096))
		}
	}
	return b.String()
}
