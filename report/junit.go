package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
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
	tests, failures, errors, skipped int
	took                             time.Duration
}

// attrs returns the counts as attributes.
func (c junitCounts) attrs() []xml.Attr {
	return []xml.Attr{
		attr("tests", strconv.Itoa(c.tests)), attr("failures", strconv.Itoa(c.failures)),
		attr("errors", strconv.Itoa(c.errors)), attr("skipped", strconv.Itoa(c.skipped)),
		attr("time", junitTime(c.took)),
	}
}

func attr(name, value string) xml.Attr { return xml.Attr{Name: xml.Name{Local: name}, Value: value} }

func element(name string, attrs ...xml.Attr) xml.StartElement {
	return xml.StartElement{Name: xml.Name{Local: name}, Attr: attrs}
}

// add counts a test. It does not add the time: fixtures and attempts before the last take time,
// too.
func (c *junitCounts) add(t *junitCase) {
	c.tests++
	switch {
	case t.Error != nil:
		c.errors++
	case t.Failure != nil:
		c.failures++
	case t.Skipped != nil:
		c.skipped++
	}
}

func (c *junitCounts) addSuite(s junitCounts) {
	c.tests += s.tests
	c.failures += s.failures
	c.errors += s.errors
	c.skipped += s.skipped
	c.took += s.took
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

// A junitSuite is a class, or what of it a DUT of a merged run has done.
type junitSuite struct {
	class []*run.Group
	dut   string
	junitCounts
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

// writeJUnit writes the file piece by piece: it has the texts of only one test in memory at a time.
func writeJUnit(p *printer, h *run.History) {
	var all junitCounts
	var suites []junitSuite
	for _, class := range h.Classes() {
		for _, dut := range run.DUTsOf(class) {
			s := junitSuiteOf(class, dut)
			all.addSuite(s.junitCounts)
			suites = append(suites, s)
		}
	}
	w := &junitWriter{printer: p, h: h, enc: xml.NewEncoder(p), limit: junitOut}
	if n := 3 * max(1, len(h.Cases)); w.limit > junitFile/n {
		w.limit = junitFile / n
	}
	p.print(xml.Header)
	w.enc.Indent("", "  ")
	root := element("testsuites", append([]xml.Attr{attr("name", "vmtb")}, all.attrs()...)...)
	w.token(root)
	for _, s := range suites {
		w.suite(s)
	}
	w.token(root.End())
	p.fail(w.enc.Flush())
	p.print("\n")
}

// A junitWriter writes the elements of JUnit XML.
type junitWriter struct {
	*printer
	h     *run.History
	enc   *xml.Encoder
	limit int // bytes of each text of a test
}

func (w *junitWriter) token(t xml.Token) { w.fail(w.enc.EncodeToken(t)) }

func (w *junitWriter) suite(s junitSuite) {
	attrs := append([]xml.Attr{attr("name", dotted(s.class[0].ID))}, s.attrs()...)
	suite := element("testsuite", append(attrs, attr("timestamp", w.h.Info.Start.UTC().Format("2006-01-02T15:04:05")),
		attr("hostname", hostOf(w.h.Info, s.dut)))...)
	w.token(suite)
	w.fail(w.enc.EncodeElement(struct {
		Properties []junitProperty `xml:"property"`
	}{junitProperties(w.h.Info, s.dut)}, element("properties")))
	for _, g := range s.class {
		for _, c := range g.Cases {
			if c.Last().DUT == s.dut {
				w.fail(w.enc.Encode(junitCaseOf(w.printer, w.h, c, w.limit)))
			}
		}
		for _, t := range junitTrouble(g, s.dut, w.limit) {
			w.fail(w.enc.Encode(t))
		}
	}
	w.token(suite.End())
}

// junitSuiteOf counts the tests of a suite.
func junitSuiteOf(class []*run.Group, dut string) junitSuite {
	s := junitSuite{class: class, dut: dut}
	for _, g := range class {
		for _, c := range g.Cases {
			if c.Last().DUT == dut {
				var t junitCase
				t.problem(c, 0)
				s.add(&t)
			}
		}
		for _, t := range junitTrouble(g, dut, 0) {
			s.add(t)
		}
	}
	s.took = tookInAll(class, dut)
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
