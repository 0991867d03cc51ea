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

// A Status is the result of one IGT test, in igt_runner's words.
type Status string

// The results that igt_runner knows, in the order of its totals.
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

// Good reports a test that did what it should, with or without warnings.
func (s Status) Good() bool { return s == StatusPass || s == StatusWarn || s == StatusDmesgWarn }

// Bad reports a test that did not: whatever is not good, and not skipped.
func (s Status) Bad() bool { return !s.Good() && s != StatusSkip }

// Counts are how many tests had each result.
type Counts map[Status]int

// Good is how many tests were [Status.Good].
func (c Counts) Good() int { return c.sum(Status.Good) }

// Bad is how many tests were [Status.Bad].
func (c Counts) Bad() int { return c.sum(Status.Bad) }

func (c Counts) sum(is func(Status) bool) (n int) {
	for s, count := range c {
		if is(s) {
			n += count
		}
	}
	return n
}

// String lists the results that there are: "2 pass, 1 skip".
func (c Counts) String() string {
	var parts []string
	for _, s := range statuses {
		if c[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c[s], s))
		}
	}
	return strings.Join(parts, ", ")
}

// IGTResults are what igt_runner writes to results.json (runner/resultgen.c of IGT).
type IGTResults struct {
	Name   string
	Uname  string
	Tests  []IGTTest // in the file's order
	Totals Counts    // of all tests, each repetition counted; every result has a key
}

// An IGTTest is one test, subtest or dynamic subtest. Output that is not UTF-8 has been changed by
// igt_runner: its bytes are taken for Latin-1.
type IGTTest struct {
	Name          string // "igt@xe_exec_store@basic-store"
	Status        Status
	Duration      time.Duration // 0 if it was not run
	Out           string
	Err           string
	Dmesg         string
	DmesgWarnings string // those that changed the result
}

// missing reports a test whose program is not there, which igt_runner calls skipped.
func (t IGTTest) missing() bool {
	return t.Status == StatusSkip && t.Out == "" && strings.HasPrefix(t.Err, "Cannot execute ")
}

// ParseIGT reads a results.json. Members that it does not know and invalid UTF-8 are let through; a
// member that is missing or has the wrong type, or a result that igt_runner does not know, is an
// error.
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
		return errors.Join(err, errors.New("tests is no object"))
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

// seconds is a duration that somebody else measured.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
