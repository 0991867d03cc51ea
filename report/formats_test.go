package report

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"vmtb/flow"
	"vmtb/report/html"
	"vmtb/report/reporttest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// write returns the report of a run in a format.
func write(t testing.TB, format string, run *flow.RunDir) string {
	t.Helper()
	var b bytes.Buffer
	spec, err := ParseSpec(format + ":-")
	if err != nil {
		t.Fatal(err)
	}
	r, err := spec.Open(Options{Dir: run.Info.Dir, Stdout: &b})
	if err == nil {
		err = Replay(r, run)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Every file format of every sample is equal to its golden file.
func TestGolden(t *testing.T) {
	for _, s := range reporttest.Samples() {
		run := s.Open(t)
		if run.Torn != (s.Torn != "") {
			t.Errorf("%s: torn is %t", s.Name, run.Torn)
		}
		for _, f := range Formats {
			if f.file != nil {
				reporttest.Golden(t, *update, fmt.Sprintf("%s/%s", s.Name, f.Path), write(t, f.Name, run), run)
			}
		}
	}
}

// With any journal, every format stays readable.
func FuzzFormats(f *testing.F) {
	f.Add("plain", "reason", "message", "case", "pass", int64(1), "log")
	f.Add(reporttest.Odd, reporttest.Odd, reporttest.Odd, "step", "dmesg-warn", int64(-5), reporttest.Odd)
	f.Add("a]]>b", "# x\n1..2", "\n\nnot ok 1", "restore", "odd", int64(1)<<62, "<script>")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name, reason, message, phase, result string, took int64, file string) {
		id := flow.ID{File: "test_f", Class: name, Case: message, Param: name}
		tp := reporttest.NewTape(id, reporttest.Boot("1VF"))
		tp.Info.Plan[0].Dir, tp.Info.Plan[1].Dir = "01/"+reason, "02/x"
		tp.Info.Dir, tp.Info.DUT, tp.Info.Version, tp.Info.Config = dir, reason, message, []byte(file)
		tp.Info.Environment = []flow.Fact{{Name: name, Value: reason}}
		tp.Begin(flow.PhaseSetUp, id.Fixture())
		tp.Begin(flow.Phase(phase), id)
		tp.Entry(flow.Entry{Event: flow.Begin, Phase: flow.PhaseStep, ID: id, Name: name})
		tp.Log(result, message, id)
		tp.Entry(flow.Entry{
			Event: flow.End, Phase: flow.Phase(phase), ID: id, Duration: time.Duration(took),
			Result: flow.Result(result),
			Reason: reason, Where: name, Stack: message, Blame: flow.Blame(name), Dir: name,
		})
		tp.Phase(flow.Entry{Phase: flow.PhaseTearDown, ID: id.Fixture(), Result: flow.Error, Reason: message}, 0)
		run := &flow.RunDir{Info: tp.Info, Entries: tp.Entries}
		fsys := fstest.MapFS{
			"01/fixture-1/vm0/argv": {Data: []byte(file)}, "01/fixture-1/vm0/console.log": {Data: []byte(message)},
			"01/x/dmesg.txt": {Data: []byte(reason)},
		}
		text := func(format func(io.Writer) Report) string {
			var b strings.Builder
			if err := Replay(format(&b), run); err != nil {
				t.Fatal(err)
			}
			return b.String()
		}
		checkKCIDB(t, text(func(w io.Writer) Report { return NewKCIDB(w, fsys) }))
		checkJUnitWellFormed(t, text(func(w io.Writer) Report { return NewJUnit(w, fsys) }))
		if _, err := readKTAP(text(func(w io.Writer) Report { return NewKTAP(w, fsys) })); err != nil {
			t.Error(err)
		}
		reporttest.Read(t, text(func(w io.Writer) Report { return NewResults(w, fsys) }))
		for _, r := range text(func(w io.Writer) Report { return NewLogfile(w, fsys) }) {
			if r != '\n' && r < 0x20 || r == '\u202e' {
				t.Errorf("%U in the log file", r)
			}
		}
		pages, err := html.New(dir, html.Options{Run: fsys, Dir: dir, Earlier: run})
		if err == nil {
			err = Replay(pages, run)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range reporttest.Pages(t, dir) {
			reporttest.Walk(t, name)
			os.Remove(name)
		}
	})
}
