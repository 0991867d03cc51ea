package reporttest

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
)

// Results is results.json in the form that a tool reads. Other fields are an error.
type Results struct {
	Type     string                    `json:"__type__"`
	Version  json.Number               `json:"results_version"`
	Name     *string                   `json:"name"`
	Uname    *string                   `json:"uname"`
	Cmdline  []string                  `json:"cmdline"`
	Elapsed  *span                     `json:"time_elapsed"`
	Tests    map[string]test           `json:"tests"`
	Totals   map[string]map[string]int `json:"totals"`
	Runtimes map[string]struct {
		Time *span `json:"time"`
	} `json:"runtimes"`
}

type span struct {
	Type  string      `json:"__type__"`
	Start json.Number `json:"start"`
	End   json.Number `json:"end"`
}

type test struct {
	Out      *string `json:"out"`
	Err      *string `json:"err"`
	Dmesg    *string `json:"dmesg"`
	Result   string  `json:"result"`
	Version  *string `json:"igt-version"`
	Time     *span   `json:"time"`
	Warnings *string `json:"dmesg-warnings"`
}

// words are the counters of igt_runner.
var words = strings.Fields("crash pass dmesg-fail dmesg-warn skip incomplete abort timeout notrun fail warn")

// Read reads results.json, and fails the test on unknown fields.
func Read(t testing.TB, text string) Results {
	t.Helper()
	var f Results
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(&f); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return f
}

// Check fails the test if the file breaks a rule of igt_runner's writer.
func (f Results) Check(t testing.TB) {
	t.Helper()
	if f.Type != "TestrunResult" || f.Version != "10" || f.Name == nil || f.Uname == nil || f.Cmdline == nil {
		t.Errorf("root: %+v", f)
	}
	f.Elapsed.check(t, "time_elapsed")
	sums := sums{map[string]map[string]int{"": {}, "root": {}}, map[string]float64{}}
	for key, test := range f.Tests {
		sums.add(key, test.Result, test.check(t, key))
	}
	sums.check(t, f)
}

// check checks a test result, and returns its duration in seconds.
func (r test) check(t testing.TB, key string) float64 {
	t.Helper()
	if r.Out == nil || r.Err == nil || r.Dmesg == nil || r.Version == nil || *r.Out+*r.Err+*r.Dmesg == "" {
		t.Errorf("%s: %+v", key, r)
	}
	if r.Warnings != nil && *r.Warnings == "" {
		t.Errorf("%s: dmesg-warnings is empty", key)
	}
	if dmesg := strings.HasPrefix(r.Result, "dmesg-"); dmesg != (r.Warnings != nil) {
		t.Errorf("%s: result %s, dmesg-warnings %v", key, r.Result, r.Warnings)
	}
	if !slices.Contains(words, r.Result) {
		t.Errorf("%s: result %q", key, r.Result)
	}
	end := r.Time.check(t, key)
	if r.Time.Start != "0.0" {
		t.Errorf("%s: starts at %s", key, r.Time.Start)
	}
	return end
}

// sums are the expected totals and runtimes of the file.
type sums struct {
	counts map[string]map[string]int
	times  map[string]float64
}

func (s sums) add(key, result string, took float64) {
	program := "igt@runner"
	if key != "igt@runner@aborted" {
		program = key[:strings.Index(key, ".py")+3]
	}
	for _, name := range []string{"", "root", program} {
		if s.counts[name] == nil {
			s.counts[name] = map[string]int{}
		}
		s.counts[name][result]++
	}
	s.times[program] += took
}

func (s sums) check(t testing.TB, f Results) {
	t.Helper()
	if len(f.Totals) != len(s.counts) || len(f.Runtimes) != len(s.times) {
		t.Errorf(
			"totals of %d, runtimes of %d; want %d, %d", len(f.Totals), len(f.Runtimes), len(s.counts), len(s.times),
		)
	}
	for name, total := range f.Totals {
		if len(total) != len(words) {
			t.Errorf("totals.%q has %d counters", name, len(total))
		}
		for _, word := range words {
			if n, ok := total[word]; !ok || n != s.counts[name][word] {
				t.Errorf("totals.%q.%s is %d (%t), want %d", name, word, n, ok, s.counts[name][word])
			}
		}
	}
	for name, runtime := range f.Runtimes {
		if end := runtime.Time.check(t, name); math.Abs(end-s.times[name]) > 1e-6 {
			t.Errorf("runtimes.%q is %g, want %g", name, end, s.times[name])
		}
	}
}

// check returns the end of the span. The times must be reals, with a decimal point.
func (s *span) check(t testing.TB, where string) float64 {
	t.Helper()
	if s == nil || s.Type != "TimeAttribute" {
		t.Fatalf("%s: time %+v", where, s)
	}
	start, err1 := s.Start.Float64()
	end, err2 := s.End.Float64()
	if err1 != nil || err2 != nil || end < start || !strings.Contains(string(s.Start), ".") ||
		!strings.Contains(string(s.End), ".") {
		t.Errorf("%s: time %+v", where, s)
	}
	return end
}
