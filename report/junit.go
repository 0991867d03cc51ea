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
	"vmtb/report/run"
)

// How much output of a test goes into JUnit XML. GitLab accepts files of less than 30 MB.
const (
	junitFile = 20 << 20
	junitOut  = 16 << 10 // each of a test's outputs, if there are not too many tests
)

// NewJUnit returns a report that writes JUnit XML to w, for Jenkins and GitLab. fsys is the run
// directory.
func NewJUnit(w io.Writer, fsys fs.FS) Report { return newWhole(w, fsys, writeJUnit) }

type junitCounts struct {
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Errors   int    `xml:"errors,attr"`
	Skipped  int    `xml:"skipped,attr"`
	Time     string `xml:"time,attr"` // seconds

	took time.Duration
}

// add counts a test. It does not add the time: fixtures and attempts before the last take time,
// too.
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

// tookInAll returns the time of a DUT's phases of groups: fixtures, and all attempts of cases.
func tookInAll(groups []*run.Group, dut string) time.Duration {
	var sum time.Duration
	for _, g := range groups {
		for _, p := range g.Phases {
			if p.DUT == dut {
				sum += max(0, p.Duration)
			}
		}
	}
	return sum
}

// hostName returns the name at the beginning of dut, a line such as "dut-7, Linux 6.19.0,
// Battlemage". Without a name it is "localhost", as Ant's JUnit task writes it.
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

// A junitCase has its children in the order of the schema.
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

func writeJUnit(p *printer, h *run.History) {
	var all junitCounts
	all.Time = junitTime(0)
	limit := junitOut
	if n := 3 * max(1, len(h.Cases)); limit > junitFile/n {
		limit = junitFile / n
	}
	var suites []junitSuite
	for _, class := range h.Classes() {
		for _, dut := range run.DUTsOf(class) {
			s := junitSuiteOf(p, h, class, dut, limit)
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

// junitSuiteOf returns a class, or what of it a DUT of a merged run has done.
func junitSuiteOf(p *printer, h *run.History, class []*run.Group, dut string, limit int) junitSuite {
	s := junitSuite{
		Name: dotted(class[0].ID), Timestamp: h.Info.Start.UTC().Format("2006-01-02T15:04:05"),
		Hostname:   hostOf(h.Info, dut),
		Properties: junitProperties(h.Info, dut), junitCounts: junitCounts{Time: junitTime(0)},
	}
	for _, g := range class {
		for _, c := range g.Cases {
			if c.Last().DUT == dut {
				s.Cases = append(s.Cases, junitCaseOf(p, h, c, limit))
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

// hostOf returns the name of the host on which the DUT of that name runs.
func hostOf(info flow.Info, dut string) string {
	switch {
	case dut != "":
		return hostName(run.Clean(dut))
	case len(info.DUTs) > 1:
		return hostName("") // it ran nowhere
	}
	return hostName(info.DUT)
}

// dotted returns the class as JUnit names it: "test_basic.TestVmSetup".
func dotted(id flow.ID) string { return strings.ReplaceAll(run.ClassName(id), "::", ".") }

func junitProperties(info flow.Info, dut string) []junitProperty {
	line, environment := run.Describe(info, dut)
	props := []junitProperty{
		{"vmtb", run.Clean(info.Version)},
		{"dut", run.OneLine(line, 500)},
		{"run directory", run.OneLine(info.Dir, 500)},
	}
	if s := info.Participants(); s != "" {
		props = append(props, junitProperty{"participants", run.OneLine(s, 2000)})
	}
	for _, f := range environment {
		props = append(props, junitProperty{run.OneLine(f.Name, 100), run.OneLine(f.Value, 1000)})
	}
	return props
}

func junitCaseOf(p *printer, h *run.History, c *run.Case, limit int) *junitCase {
	a := c.Last()
	t := &junitCase{
		Name: run.OneLine(run.CaseName(c.ID), 1000), Classname: dotted(c.ID), Time: junitTime(a.Duration),
		File: whereFile(a.Where),
	}
	t.problem(c, limit)
	t.Out = newJUnitText(run.LastBytes(a.Transcript(seconds2), limit) + attachments(p, h.Info.Dir, a))
	t.Err = newJUnitText(run.LastBytes(p.dmesg(a, int64(limit)), limit))
	return t
}

// problem adds why the case did not pass. The first attempt is the failure, later ones are its
// reruns.
func (t *junitCase) problem(c *run.Case, limit int) {
	if run.KindOf(c.Last().Result) == run.Good {
		for _, a := range c.Attempts[:len(c.Attempts)-1] {
			if run.Failed(a.Result) {
				t.Flakes = append(t.Flakes, junitProblemOf(a, limit))
			}
		}
		return
	}
	first := c.Attempts[0]
	if !run.Failed(first.Result) {
		first = c.Last()
	}
	problem := junitProblemOf(first, limit)
	switch kind := run.KindOf(first.Result); {
	case c.Excused():
		problem.Message = c.Excuse() + ": " + problem.Message
		t.Skipped = &problem
	case kind == run.Idle:
		t.Skipped = &problem
	case kind == run.Unknown:
		t.Error = &problem
	default:
		t.Failure = &problem
	}
	for _, a := range c.Attempts[1:] {
		if a != first && run.Failed(a.Result) {
			t.Reruns = append(t.Reruns, junitProblemOf(a, limit))
		}
	}
}

func junitProblemOf(a *run.Phase, limit int) junitProblem {
	message := run.OneLine(a.Reason, 500)
	if message == "" {
		message = string(a.Result)
	}
	return junitProblem{Message: message, Type: run.OneLine(string(a.Result), 50), Text: run.LastBytes(a.Why(), limit)}
}

// junitTrouble returns a test with an error for each failure of the group's fixtures that is the
// result of no case.
func junitTrouble(g *run.Group, dut string, limit int) []*junitCase {
	var out []*junitCase
	for _, bad := range g.Trouble() {
		if bad.DUT != dut {
			continue
		}
		problem := junitProblemOf(bad.Phase, limit)
		name := flow.ID{File: bad.Name, Param: g.ID.Param}.String()
		out = append(out, &junitCase{
			Name: run.OneLine(name, 1000), Classname: dotted(g.ID), Time: junitTime(bad.Duration),
			File: whereFile(bad.Where), Error: &problem,
		})
	}
	return out
}

// whereFile returns the file of "basic/basic.go:41".
func whereFile(where string) string {
	file, _, _ := strings.Cut(where, ":")
	return run.OneLine(file, 200)
}

// attachments returns a line for each file of the case's folder, which Jenkins (with its
// attachments plug-in) and GitLab turn into links.
func attachments(p *printer, dir string, a *run.Phase) string {
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
			name := filepath.Join(dir, path.Join(a.Dir, e.Name()))
			fmt.Fprintf(&b, "[[ATTACHMENT|%s]]\n", run.OneLine(name, 4096))
		}
	}
	return b.String()
}
