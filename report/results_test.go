package report

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"vmtb/flow"
)

// igtFile is results.json as a tool reads it: what is not here must not be there.
type igtFile struct {
	Type     string                    `json:"__type__"`
	Version  json.Number               `json:"results_version"`
	Name     *string                   `json:"name"`
	Uname    *string                   `json:"uname"`
	Cmdline  []string                  `json:"cmdline"`
	Elapsed  *igtSpan                  `json:"time_elapsed"`
	Tests    map[string]igtRead        `json:"tests"`
	Totals   map[string]map[string]int `json:"totals"`
	Runtimes map[string]struct {
		Time *igtSpan `json:"time"`
	} `json:"runtimes"`
}

type igtSpan struct {
	Type  string      `json:"__type__"`
	Start json.Number `json:"start"`
	End   json.Number `json:"end"`
}

type igtRead struct {
	Out      *string  `json:"out"`
	Err      *string  `json:"err"`
	Dmesg    *string  `json:"dmesg"`
	Result   string   `json:"result"`
	Version  *string  `json:"igt-version"`
	Time     *igtSpan `json:"time"`
	Warnings *string  `json:"dmesg-warnings"`
}

// igtWords are the counters of igt_runner.
var igtWords = strings.Fields("crash pass dmesg-fail dmesg-warn skip incomplete abort timeout notrun fail warn")

func readIGT(t testing.TB, text string) igtFile {
	t.Helper()
	var f igtFile
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(&f); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return f
}

// check holds a file against the rules of igt_runner's writer.
func (f igtFile) check(t testing.TB) {
	t.Helper()
	if f.Type != "TestrunResult" || f.Version != "10" || f.Name == nil || f.Uname == nil || f.Cmdline == nil {
		t.Errorf("root: %+v", f)
	}
	f.Elapsed.check(t, "time_elapsed")
	counts := map[string]map[string]int{"": {}, "root": {}}
	times := map[string]float64{}
	for key, test := range f.Tests {
		if test.Out == nil || test.Err == nil || test.Dmesg == nil || test.Version == nil || *test.Out+*test.Err+*test.Dmesg == "" {
			t.Errorf("%s: %+v", key, test)
		}
		if test.Warnings != nil && *test.Warnings == "" {
			t.Errorf("%s: dmesg-warnings is empty", key)
		}
		if dmesg := strings.HasPrefix(test.Result, "dmesg-"); dmesg != (test.Warnings != nil) {
			t.Errorf("%s: result %s, dmesg-warnings %v", key, test.Result, test.Warnings)
		}
		if !slices.Contains(igtWords, test.Result) {
			t.Errorf("%s: result %q", key, test.Result)
		}
		end := test.Time.check(t, key)
		if test.Time.Start != "0.0" {
			t.Errorf("%s: starts at %s", key, test.Time.Start)
		}
		program := key[:strings.Index(key, ".py")+3]
		if key == "igt@runner@aborted" {
			program = "igt@runner"
		}
		for _, name := range []string{"", "root", program} {
			if counts[name] == nil {
				counts[name] = map[string]int{}
			}
			counts[name][test.Result]++
		}
		times[program] += end
	}
	if len(f.Totals) != len(counts) || len(f.Runtimes) != len(times) {
		t.Errorf("totals of %d, runtimes of %d; want %d, %d", len(f.Totals), len(f.Runtimes), len(counts), len(times))
	}
	for name, total := range f.Totals {
		if len(total) != len(igtWords) {
			t.Errorf("totals.%q has %d counters", name, len(total))
		}
		for _, word := range igtWords {
			if n, ok := total[word]; !ok || n != counts[name][word] {
				t.Errorf("totals.%q.%s is %d (%t), want %d", name, word, n, ok, counts[name][word])
			}
		}
	}
	for name, runtime := range f.Runtimes {
		if end := runtime.Time.check(t, name); math.Abs(end-times[name]) > 1e-6 {
			t.Errorf("runtimes.%q is %g, want %g", name, end, times[name])
		}
	}
}

// check returns the end. Times are reals, that is, have a point.
func (s *igtSpan) check(t testing.TB, where string) float64 {
	t.Helper()
	if s == nil || s.Type != "TimeAttribute" {
		t.Fatalf("%s: time %+v", where, s)
	}
	start, err1 := s.Start.Float64()
	end, err2 := s.End.Float64()
	if err1 != nil || err2 != nil || end < start || !strings.Contains(string(s.Start), ".") || !strings.Contains(string(s.End), ".") {
		t.Errorf("%s: time %+v", where, s)
	}
	return end
}

func TestResults(t *testing.T) {
	for _, s := range samples() {
		run := s.open(t)
		f := readIGT(t, write(t, "results", run))
		f.check(t)
		for _, it := range run.Info.Plan {
			if _, ok := f.Tests[it.ID.ResultsKey()]; !ok {
				t.Errorf("%s: %s is missing", s.name, it.Name)
			}
		}
		_, aborted := f.Tests["igt@runner@aborted"]
		if want := s.name == "mixed" || s.name == "killed" || s.name == "empty"; aborted != want {
			t.Errorf("%s: aborted %t", s.name, aborted)
		}
		if n := len(f.Tests); !aborted && n != len(run.Info.Plan) || aborted && n != len(run.Info.Plan)+1 {
			t.Errorf("%s: %d tests", s.name, n)
		}
	}
}

// The result of every case, in the words of each format.
func TestResultWords(t *testing.T) {
	run := mixedRun().open(t)
	f := readIGT(t, write(t, "results", run))
	want := "pass fail crash skip dmesg-warn dmesg-fail timeout pass abort notrun notrun"
	var got []string
	for _, it := range run.Info.Plan {
		got = append(got, f.Tests[it.ID.ResultsKey()].Result)
	}
	if g := strings.Join(got, " "); g != want {
		t.Errorf("results.json: %s\nwant %s", g, want)
	}
	key := "vmtb@test_basic.py::TestVmSetup::test_vm_boot[2VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)]"
	if test := f.Tests[key]; !strings.Contains(*test.Err, "panic: index") || !strings.Contains(*test.Err, "attempt 1: fail the VF is not bound") || !strings.Contains(*test.Err, "tear-down: vm0: power off: no answer") {
		t.Errorf("%s: err is\n%s", key, *test.Err)
	}
	if d := *f.Tests[run.Info.Plan[4].ID.ResultsKey()].Dmesg; !strings.Contains(d, "<4>[  101.500000] xe 0000:03:00.0: [drm] GT0: timed out\n") {
		t.Errorf("dmesg: %q", d)
	}

	var lava []string
	for line := range strings.Lines(write(t, "lava", run)) {
		if _, result, ok := strings.Cut(line, "RESULT="); ok {
			lava = append(lava, strings.Fields(result)[0])
		}
	}
	if g, want := strings.Join(lava, " "), "pass fail unknown unknown skip pass fail fail pass unknown skip unknown skip"; g != want {
		t.Errorf("LAVA: %s\nwant  %s", g, want)
	}
}

// All keys of upstream's list, byte for byte.
func TestResultsKeys(t *testing.T) {
	list, err := os.ReadFile("../flow/testdata/upstream-ids.txt")
	if err != nil {
		t.Fatal(err)
	}
	tp := newTape()
	keys := strings.Fields(strings.ReplaceAll(string(list), " ", "\x00"))
	paths := map[string]string{}
	for i, key := range keys {
		keys[i] = strings.ReplaceAll(key, "\x00", " ")
		id := upstreamID(keys[i])
		tp.info.Plan = append(tp.info.Plan, flow.Item{ID: id, Name: id.String()})
		p := pathName(id)
		if paths[p] != "" || !kcidbPath.MatchString(p) {
			t.Errorf("%s has the path %s of %q", keys[i], p, paths[p])
		}
		paths[p] = keys[i]
	}
	f := readIGT(t, write(t, "results", sample{name: "all", tape: tp}.open(t)))
	f.check(t)
	for _, key := range keys {
		if _, ok := f.Tests["vmtb@"+key]; !ok {
			t.Errorf("vmtb@%s is missing", key)
		}
	}
	if len(keys) != 195 || f.Totals["vmtb@test_basic.py"]["notrun"] != 13 {
		t.Errorf("%d keys, totals %v", len(keys), f.Totals)
	}
}

func upstreamID(key string) flow.ID {
	var id flow.ID
	key, id.Param, _ = strings.Cut(key, "[")
	id.Param = strings.TrimSuffix(id.Param, "]")
	parts := strings.Split(key, "::")
	id.File, id.Case = strings.TrimSuffix(parts[0], ".py"), parts[len(parts)-1]
	if len(parts) == 3 {
		id.Class = parts[1]
	}
	return id
}
