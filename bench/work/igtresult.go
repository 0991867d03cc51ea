package work

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A Status is the result of one IGT test, in igt_runner's terms.
type Status string

// These are igt_runner's results, in the order of its totals.
const (
	StatusCrash      Status = "crash"
	StatusPass       Status = "pass"
	StatusDmesgFail  Status = "dmesg-fail"
	StatusDmesgWarn  Status = "dmesg-warn"
	StatusSkip       Status = "skip"
	StatusIncomplete Status = "incomplete"
	StatusAbort      Status = "abort"
	StatusTimeout    Status = "timeout"
	StatusNotrun     Status = "notrun"
	StatusFail       Status = "fail"
	StatusWarn       Status = "warn"
)

var statuses = []Status{
	StatusCrash, StatusPass, StatusDmesgFail, StatusDmesgWarn, StatusSkip, StatusIncomplete, StatusAbort, StatusTimeout,
	StatusNotrun, StatusFail, StatusWarn,
}

// Good reports whether the test passed, with or without warnings.
func (s Status) Good() bool { return s == StatusPass || s == StatusWarn || s == StatusDmesgWarn }

// Bad reports whether the test neither passed nor was skipped.
func (s Status) Bad() bool { return !s.Good() && s != StatusSkip }

// Counts is the number of tests for each result.
type Counts map[Status]int

// Good returns how many tests were [Status.Good].
func (c Counts) Good() int { return c.sum(Status.Good) }

// Bad returns how many tests were [Status.Bad].
func (c Counts) Bad() int { return c.sum(Status.Bad) }

func (c Counts) sum(is func(Status) bool) (n int) {
	for s, count := range c {
		if is(s) {
			n += count
		}
	}
	return n
}

// String lists the results with a count above 0: "2 pass, 1 skip".
func (c Counts) String() string {
	var parts []string
	for _, s := range statuses {
		if c[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c[s], s))
		}
	}
	return strings.Join(parts, ", ")
}

// IGTResults is the content of igt_runner's results.json (runner/resultgen.c of IGT).
type IGTResults struct {
	Name   string
	Uname  string
	Tests  []IGTTest // in the file's order
	Totals Counts    // of all tests, with each repetition; has a key for every result
}

// An IGTTest is one test, subtest or dynamic subtest. igt_runner takes bytes that are not UTF-8 for
// Latin-1, which changes such output.
type IGTTest struct {
	Name          string // "igt@xe_exec_store@basic-store"
	Status        Status
	Duration      time.Duration // 0 if it was not run
	Out           string
	Err           string
	Dmesg         string
	DmesgWarnings string // the warnings that changed the result
}

// missing reports whether the test's program does not exist. igt_runner calls that skipped.
func (t IGTTest) missing() bool {
	return t.Status == StatusSkip && t.Out == "" && strings.HasPrefix(t.Err, "Cannot execute ")
}

// ParseIGT parses a results.json. It accepts unknown members and invalid UTF-8. A missing member, a
// member of the wrong type and an unknown result are errors.
func ParseIGT(data []byte) (*IGTResults, error) {
	var f igtFile
	if err := json.Unmarshal(data, &f, jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil, err
	}
	if f.Type != "TestrunResult" || f.Version < resultsVersion {
		return nil, fmt.Errorf(
			"not a TestrunResult of version %d or later: __type__ %q, results_version %d",
			resultsVersion, f.Type, f.Version,
		)
	}
	if f.Totals.Root == nil {
		return nil, errors.New("no totals.root")
	}
	r := &IGTResults{Name: f.Name, Uname: f.Uname, Tests: f.Tests, Totals: Counts{}}
	for _, s := range statuses {
		n, ok := f.Totals.Root[s]
		if !ok || n < 0 {
			return nil, fmt.Errorf("totals.root.%s is missing or negative", s)
		}
		r.Totals[s] = n
	}
	return r, nil
}

const resultsVersion = 10

type igtFile struct {
	Type    string   `json:"__type__"`
	Version int      `json:"results_version"`
	Name    string   `json:"name"`
	Uname   string   `json:"uname"`
	Tests   igtTests `json:"tests"`
	Totals  struct {
		Root map[Status]int `json:"root"`
	} `json:"totals"`
}

// igtTests keeps the order of the object.
type igtTests []IGTTest

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (l *igtTests) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return errors.Join(err, errors.New("tests is not an object"))
	}
	for dec.PeekKind() != '}' {
		var name string
		var t igtTest
		if err := json.UnmarshalDecode(dec, &name); err != nil {
			return err
		}
		if err := json.UnmarshalDecode(dec, &t); err != nil {
			return err
		}
		if !slices.Contains(statuses, t.Result) {
			return fmt.Errorf("%s has the unknown result %q", name, t.Result)
		}
		*l = append(*l, t.test(name))
	}
	_, err := dec.ReadToken()
	return err
}

type igtTest struct {
	Result        Status `json:"result"`
	Out           string `json:"out"`
	Err           string `json:"err"`
	Dmesg         string `json:"dmesg"`
	DmesgWarnings string `json:"dmesg-warnings"`
	Time          struct {
		Start float64 `json:"start"` // seconds
		End   float64 `json:"end"`
	} `json:"time"`
}

func (t igtTest) test(name string) IGTTest {
	return IGTTest{
		Name: name, Status: t.Result, Duration: seconds(t.Time.End - t.Time.Start),
		Out: t.Out, Err: t.Err, Dmesg: t.Dmesg, DmesgWarnings: t.DmesgWarnings,
	}
}

// seconds converts a duration in seconds from igt_runner.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
