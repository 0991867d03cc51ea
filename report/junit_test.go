package report

import (
	"encoding/xml"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"vmtb/flow"
	"vmtb/report/reporttest"
)

// A node is an XML element that was read.
type node struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []node     `xml:",any"`
}

func (n node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (n node) all(name string) (out []node) {
	for _, c := range n.Children {
		if c.XMLName.Local == name {
			out = append(out, c)
		}
	}
	return out
}

// junitOrder is the order of the children of a test case.
var junitOrder = []string{
	"properties", "skipped", "error", "failure", "rerunFailure", "flakyFailure", "system-out", "system-err",
}

// checkJUnit checks a file against the rules of Jenkins and GitLab.
func checkJUnit(t testing.TB, text string) node {
	t.Helper()
	var root node
	if err := xml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if root.XMLName.Local != "testsuites" {
		t.Errorf("root is %s", root.XMLName.Local)
	}
	names := map[[2]string]bool{}
	total := map[string]int{}
	for _, suite := range root.all("testsuite") {
		count := map[string]int{}
		for _, c := range suite.all("testcase") {
			key := [2]string{c.attr("classname"), c.attr("name")}
			if names[key] || key[0] == "" || key[1] == "" || c.attr("time") == "" {
				t.Errorf("test case %v", c.Attrs)
			}
			names[key] = true
			count["tests"]++
			last := 0
			for _, child := range c.Children {
				at := slices.Index(junitOrder, child.XMLName.Local)
				if at < last {
					t.Errorf("%v: %s is out of order", key, child.XMLName.Local)
				}
				last = at
			}
			for word, counter := range map[string]string{
				"failure": "failures", "error": "errors", "skipped": "skipped",
			} {
				problems := c.all(word)
				count[counter] += len(problems)
				if len(problems) > 0 && problems[0].attr("message") == "" {
					t.Errorf("%v: %s without a message", key, word)
				}
			}
		}
		for _, counter := range []string{"tests", "failures", "errors", "skipped"} {
			if got := suite.attr(counter); got != strconv.Itoa(count[counter]) {
				t.Errorf("%s: %s is %s, want %d", suite.attr("name"), counter, got, count[counter])
			}
			total[counter] += count[counter]
		}
		for _, name := range []string{"name", "time", "timestamp", "hostname"} {
			if suite.attr(name) == "" {
				t.Errorf("test suite without %s: %v", name, suite.Attrs)
			}
		}
	}
	for counter, n := range total {
		if got := root.attr(counter); got != strconv.Itoa(n) {
			t.Errorf("%s is %s, want %d", counter, got, n)
		}
	}
	return root
}

func TestJUnit(t *testing.T) {
	for _, s := range reporttest.Samples() {
		root := checkJUnit(t, write(t, "junit", s.Open(t)))
		if s.Name != "mixed" {
			continue
		}
		checkJUnitSuites(t, root, s.Tape.Entries)
		var got []string
		for _, suite := range root.all("testsuite") {
			for _, c := range suite.all("testcase") {
				word := ""
				for _, child := range c.Children {
					if w := child.XMLName.Local; !strings.HasPrefix(w, "system-") {
						word += "+" + w + "(" + child.attr("type") + ")"
					}
				}
				got = append(got, strings.TrimPrefix(word, "+"))
			}
		}
		want := []string{
			"flakyFailure(fail)", "failure(fail)+rerunFailure(fail)", "error(error)", "error(error)", "skipped(skip)",
			"", "failure(dmesg-fail)", "failure(timeout)", "", "error(abort)", "skipped(notrun)", "error(error)",
			"skipped(notrun)",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q\nwant %q", got, want)
		}
		wsim := root.all("testsuite")[1].all("testcase")
		if err := wsim[0].all("system-err"); len(err) != 1 || !strings.Contains(err[0].Text, "GT0: timed out") {
			t.Errorf("kernel messages: %+v", err)
		}
		out := root.all("testsuite")[2].all("testcase")[0].all("system-out")[0].Text
		if !strings.Contains(out, "[[ATTACHMENT|/") || !strings.Contains(out, "mixed/06-m/test_save/goroutines.txt]]") {
			t.Errorf("attachments: %s", out)
		}
	}
}

// checkJUnitSuites checks that each suite has the name of a host, and the time of all its phases,
// fixtures and reruns included.
func checkJUnitSuites(t *testing.T, root node, entries []flow.Entry) {
	t.Helper()
	took := map[string]time.Duration{}
	for _, e := range entries {
		if e.Event == flow.End && e.Phase != flow.PhaseStep && e.Phase != flow.PhaseRun {
			took[dotted(e.ID)] += e.Duration
		}
	}
	var all time.Duration
	for _, suite := range root.all("testsuite") {
		if name := suite.attr("hostname"); name != "dut-7" {
			t.Errorf("host name %q, want dut-7", name)
		}
		name := suite.attr("name")
		if got, want := suite.attr("time"), junitTime(took[name]); got != want {
			t.Errorf("%s took %s, want %s", name, got, want)
		}
		all += took[name]
	}
	if got, want := root.attr("time"), junitTime(all); got != want {
		t.Errorf("all took %s, want %s", got, want)
	}
}

func TestHostName(t *testing.T) {
	for dut, want := range map[string]string{
		"vmtb-lab, Linux 6.12.117+deb13-amd64, vmtb lab (emulated)": "vmtb-lab",
		"dut_7.example.org": "dut_7.example.org",
		"lab: igb":          "lab", "": "localhost", "\x1b[31m": "localhost",
	} {
		if got := hostName(dut); got != want {
			t.Errorf("%q: %q, want %q", dut, got, want)
		}
	}
}

// A file with thousands of tests with much output stays below GitLab's limit of 30 MB.
func TestJUnitSize(t *testing.T) {
	log, reason := strings.Repeat("much to say\n", 1000), strings.Repeat("why\n", 3000)
	var info flow.Info
	var entries []flow.Entry
	for i := range 1500 {
		id := flow.ID{File: "f", Case: "c", Param: strconv.Itoa(i)}
		info.Plan = append(info.Plan, flow.Item{ID: id, Name: id.String()})
		entries = append(entries,
			flow.Entry{Event: flow.Begin, Phase: flow.PhaseCase, ID: id},
			flow.Entry{Event: flow.Log, ID: id, Message: log},
			flow.Entry{Event: flow.End, Phase: flow.PhaseCase, ID: id, Result: flow.Fail, Reason: reason})
	}
	var b strings.Builder
	if err := Replay(NewJUnit(&b, fstest.MapFS{}), &flow.RunDir{Info: info, Entries: entries}); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 29<<20 || b.Len() < 10<<20 {
		t.Errorf("%d bytes", b.Len())
	}
}

// checkJUnitWellFormed is checkJUnit for ids that no registry accepts: they may be equal or empty.
func checkJUnitWellFormed(t testing.TB, text string) {
	t.Helper()
	var root node
	if err := xml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}
