package report

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"vmtb/flow"
	"vmtb/report/run"
)

// Limits of a test's output in results.json, in bytes.
const (
	resultsOut   = 64 << 10
	resultsDmesg = 256 << 10 // for each machine
)

// NewResults returns a report that writes results.json of version 10 to w, like igt_runner
// (runner/resultgen.c of IGT), with the keys of the Python tool. fsys is the run directory.
func NewResults(w io.Writer, fsys fs.FS) Report { return newWhole(w, fsys, writeResults) }

// igtResults maps results to the words of igt_runner. The Python tool calls an error crash.
var igtResults = map[flow.Result]string{
	flow.Pass: "pass", flow.Fail: "fail", flow.Skip: "skip", flow.Error: "crash", flow.Timeout: "timeout",
	flow.Incomplete: "incomplete", flow.NotRun: "notrun", flow.DmesgWarn: "dmesg-warn", flow.DmesgFail: "dmesg-fail",
	run.Aborted: "abort",
}

func igtResult(r flow.Result) string {
	if s, ok := igtResults[r]; ok {
		return s
	}
	return "incomplete" // igt_runner also writes this for a result that it does not know
}

// igtCounters are the counters of each object in "totals".
type igtCounters struct {
	Crash      int `json:"crash"`
	Pass       int `json:"pass"`
	DmesgFail  int `json:"dmesg-fail"`
	DmesgWarn  int `json:"dmesg-warn"`
	Skip       int `json:"skip"`
	Incomplete int `json:"incomplete"`
	Abort      int `json:"abort"`
	Timeout    int `json:"timeout"`
	NotRun     int `json:"notrun"`
	Fail       int `json:"fail"`
	Warn       int `json:"warn"`
}

func (c *igtCounters) add(result string) {
	counter := map[string]*int{
		"crash": &c.Crash, "pass": &c.Pass, "dmesg-fail": &c.DmesgFail, "dmesg-warn": &c.DmesgWarn, "skip": &c.Skip,
		"incomplete": &c.Incomplete, "abort": &c.Abort, "timeout": &c.Timeout, "notrun": &c.NotRun, "fail": &c.Fail,
	}
	*counter[result]++
}

// A decimal is a number that JSON writes with a decimal point, like the library of igt_runner. Its
// readers tell reals from integers by the point.
type decimal float64

func (d decimal) MarshalJSON() ([]byte, error) {
	s := strconv.FormatFloat(float64(d), 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return []byte(s), nil
}

type igtTime struct {
	Type  string  `json:"__type__"`
	Start decimal `json:"start"` // seconds
	End   decimal `json:"end"`
}

func timeAttribute(start, end float64) igtTime {
	return igtTime{"TimeAttribute", decimal(start), decimal(end)}
}

type igtTest struct {
	Out           string  `json:"out"`
	Err           string  `json:"err"`
	Dmesg         string  `json:"dmesg"`
	DmesgWarnings string  `json:"dmesg-warnings,omitempty"`
	Result        string  `json:"result"`
	Version       string  `json:"igt-version"`
	Time          igtTime `json:"time"`
}

// writeResults writes the file piece by piece, with only one test in memory.
func writeResults(p *printer, h *run.History) {
	o := &object{p: p, sep: "{\n  "}
	s := h.Summary()
	o.member("__type__", "TestrunResult")
	o.member("results_version", 10)
	o.member("name", path.Base(h.Info.Dir))
	o.member("uname", h.Uname())
	o.member("cmdline", append([]string{}, h.Info.Argv...))
	o.member("time_elapsed", timeAttribute(unixSeconds(h.Info.Start), unixSeconds(h.Info.Start.Add(s.Duration))))
	totals, runtimes := newTotals(), map[string]float64{}
	tests := o.object("tests")
	add := func(key string, t igtTest) {
		totals.add(key, t.Result)
		runtimes[binary(key)] += float64(t.Time.End)
		tests.member(key, t)
	}
	for _, g := range h.Groups {
		for _, c := range g.Cases {
			add(c.ID.ResultsKey(), igtTestOf(p, h, g, c))
		}
	}
	if s.Stopped != "" && !s.Interrupt {
		add(
			"igt@runner@aborted",
			igtTest{
				Out: run.Clean(s.Stopped) + "\n", Result: "fail", Version: version(h.Info), Time: timeAttribute(0, 0),
			},
		)
	}
	tests.end()
	totals.write(o.object("totals"))
	times := o.object("runtimes")
	for _, name := range totals.binaries() {
		times.member(name, map[string]igtTime{"time": timeAttribute(0, runtimes[name])})
	}
	times.end()
	o.end()
	p.print("\n")
}

func igtTestOf(p *printer, h *run.History, g *run.Group, c *run.Case) igtTest {
	a := c.Last()
	t := igtTest{
		Out: run.LastBytes(
			c.Name+run.On(a.Entry)+"\n"+a.Transcript(seconds2)+"result: "+string(a.Result)+"\n", resultsOut,
		), Err: a.Why(),
		Dmesg: p.dmesg(a, resultsDmesg), Result: igtResult(a.Result), Version: version(h.Info),
		Time: timeAttribute(0, a.Duration.Seconds()),
	}
	if a.Result == flow.DmesgWarn || a.Result == flow.DmesgFail {
		t.DmesgWarnings = run.Clean(a.Reason)
	}
	for i, before := range c.Attempts[:len(c.Attempts)-1] {
		t.Err += "attempt " + strconv.Itoa(i+1) + ": " + string(before.Result) + " " + run.OneLine(
			before.Reason, 1000,
		) + "\n"
	}
	if c == g.Cases[len(g.Cases)-1] { // the last case of a group carries the failures of the fixture
		for _, bad := range g.Trouble() {
			t.Err += bad.Title() + ": " + bad.Why()
		}
	}
	t.Err = run.LastBytes(t.Err, resultsOut)
	return t
}

func version(info flow.Info) string { return "vmtb " + run.Clean(info.Version) }

func unixSeconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// binary returns the program in a key, such as "vmtb@test_basic.py".
func binary(key string) string {
	first, rest, _ := strings.Cut(key, "@")
	rest, _, _ = strings.Cut(rest, "::")
	rest, _, _ = strings.Cut(rest, "@")
	return first + "@" + rest
}

// igtTotals are counters by name. "" and "root" count all tests; other names are binaries.
type igtTotals struct {
	names  []string
	counts map[string]*igtCounters
}

func newTotals() *igtTotals {
	return &igtTotals{names: []string{"", "root"}, counts: map[string]*igtCounters{"": {}, "root": {}}}
}

func (t *igtTotals) add(key, result string) {
	b := binary(key)
	if t.counts[b] == nil {
		t.names, t.counts[b] = append(t.names, b), &igtCounters{}
	}
	for _, name := range []string{"", "root", b} {
		t.counts[name].add(result)
	}
}

func (t *igtTotals) binaries() []string { return t.names[2:] }

func (t *igtTotals) write(o *object) {
	for _, name := range t.names {
		o.member(name, t.counts[name])
	}
	o.end()
}

// An object writes a JSON object member by member, in the order of the calls.
type object struct {
	p      *printer
	indent string
	sep    string // text before the next member
}

func (o *object) member(name string, v any) {
	o.name(name)
	o.p.print(o.json(v))
}

func (o *object) name(name string) {
	o.p.print(o.sep + o.json(name) + ": ")
	o.sep = ",\n  " + o.indent
}

// object begins a member that is an object. The caller must call end on the result.
func (o *object) object(name string) *object {
	o.name(name)
	return &object{p: o.p, indent: o.indent + "  ", sep: "{\n    " + o.indent}
}

func (o *object) end() {
	if strings.HasPrefix(o.sep, "{") {
		o.p.print("{}")
		return
	}
	o.p.print("\n" + o.indent + "}")
}

// array begins a member that is an array. The caller must call end on the result.
func (o *object) array(name string) *array {
	o.name(name)
	return &array{object{p: o.p, indent: o.indent + "  ", sep: "[\n    " + o.indent}}
}

// An array writes a JSON array item by item.
type array struct{ object }

func (a *array) item(v any) {
	a.p.print(a.sep + a.json(v))
	a.sep = ",\n  " + a.indent
}

func (a *array) end() {
	if strings.HasPrefix(a.sep, "[") {
		a.p.print("[]")
		return
	}
	a.p.print("\n" + a.indent + "]")
}

func (o *object) json(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent(o.indent+"  ", "  ")
	if err := enc.Encode(v); err != nil {
		o.p.fail(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
