package report

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"vmtb/report/reporttest"
)

// A schema is the part of JSON Schema that KCIDB uses.
type schema struct {
	typ      string // "object", "array", "string", "number", "integer"
	props    map[string]schema
	open     bool // other properties are allowed
	required []string
	items    *schema
	pattern  *regexp.Regexp
	max      int
	enum     []string
	date     bool
}

var (
	kcidbPath     = regexp.MustCompile(`^([a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*)?$`)
	kcidbText     = schema{typ: "string", pattern: regexp.MustCompile(`^[^\x00]*$`)}
	kcidbOriginID = schema{typ: "string", pattern: regexp.MustCompile(`^[a-z0-9_]+:[^\x00]*$`)}
	kcidbOrig     = schema{typ: "string", pattern: regexp.MustCompile(`^[a-z0-9_]+$`)}
	kcidbTime     = schema{typ: "string", date: true}
	kcidbMiscAny  = schema{typ: "object", open: true}
	kcidbNumber   = schema{typ: "number"}
)

// kcidb53 returns schema 5.3 with only the properties that vmtb may write.
func kcidb53() schema {
	list := func(s schema) schema { return schema{typ: "array", items: &s} }
	status := schema{typ: "string", enum: []string{"FAIL", "ERROR", "MISS", "PASS", "DONE", "SKIP"}}
	return schema{
		typ: "object", required: []string{"version"}, props: map[string]schema{
			"version": {typ: "object", required: []string{"major", "minor"}, props: map[string]schema{
				"major": {typ: "integer"}, "minor": {typ: "integer"},
			}},
			"checkouts": list(schema{typ: "object", required: []string{"id", "origin"}, props: map[string]schema{
				"id": kcidbOriginID, "origin": kcidbOrig, "comment": kcidbText, "misc": kcidbMiscAny,
			}}),
			"builds": list(
				schema{typ: "object", required: []string{"id", "origin", "checkout_id"}, props: map[string]schema{
					"id": kcidbOriginID, "origin": kcidbOrig, "checkout_id": kcidbOriginID, "comment": kcidbText,
					"misc": kcidbMiscAny,
				}},
			),
			"tests": list(
				schema{typ: "object", required: []string{"id", "origin", "build_id"}, props: map[string]schema{
					"id": kcidbOriginID, "origin": kcidbOrig, "build_id": kcidbOriginID, "comment": kcidbText,
					"misc": kcidbMiscAny,
					"environment": {
						typ: "object", props: map[string]schema{"comment": kcidbText, "misc": kcidbMiscAny},
					},
					"path":        {typ: "string", pattern: kcidbPath},
					"log_excerpt": {typ: "string", pattern: kcidbText.pattern, max: 16384}, "status": status,
					"start_time": kcidbTime,
					"duration":   kcidbNumber,
				}},
			),
		},
	}
}

// check returns every violation with its place. null is not allowed anywhere.
func (s schema) check(at string, v any) []string {
	bad := func(format string, args ...any) []string { return []string{at + ": " + fmt.Sprintf(format, args...)} }
	switch v := v.(type) {
	case map[string]any:
		if s.typ != "object" {
			return bad("an object")
		}
		var out []string
		for _, r := range s.required {
			if _, ok := v[r]; !ok {
				out = append(out, bad("no %s", r)...)
			}
		}
		for name, member := range v {
			sub, ok := s.props[name]
			switch {
			case ok:
				out = append(out, sub.check(at+"."+name, member)...)
			case !s.open:
				out = append(out, bad("additional property %s", name)...)
			case member == nil:
				out = append(out, bad("%s is null", name)...)
			}
		}
		return out
	case []any:
		if s.typ != "array" {
			return bad("an array")
		}
		var out []string
		for i, e := range v {
			out = append(out, s.items.check(fmt.Sprintf("%s[%d]", at, i), e)...)
		}
		return out
	case string:
		_, err := time.Parse(time.RFC3339, v)
		if s.typ != "string" || s.pattern != nil && !s.pattern.MatchString(v) ||
			s.enum != nil && !slices.Contains(s.enum, v) ||
			s.max > 0 && utf8.RuneCountInString(v) > s.max || s.date && err != nil {
			return bad("string %.100q", v)
		}
	case float64:
		if s.typ != "number" && (s.typ != "integer" || v != math.Trunc(v)) {
			return bad("number %g", v)
		}
	default:
		return bad("%v", v)
	}
	return nil
}

// A kcidbReport is a report in the form that a tool reads.
type kcidbReport struct {
	Version   kcidbVersion    `json:"version"`
	Checkouts []kcidbCheckout `json:"checkouts"`
	Builds    []kcidbBuild    `json:"builds"`
	Tests     []kcidbTest     `json:"tests"`
}

// checkKCIDB checks a report against the schema, and against further rules of the database.
func checkKCIDB(t testing.TB, text string) kcidbReport {
	t.Helper()
	var v any
	var r kcidbReport
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	for _, bad := range kcidb53().check("report", v) {
		t.Error(bad)
	}
	if r.Version.Major != 5 || r.Version.Minor != 3 {
		t.Errorf("version %+v", r.Version)
	}
	ids := map[string]bool{}
	for _, test := range r.Tests {
		if ids[test.ID] || !strings.HasPrefix(test.ID, test.Origin+":") {
			t.Errorf("id %s of origin %s", test.ID, test.Origin)
		}
		ids[test.ID] = true
		if len(r.Builds) > 0 && (test.BuildID != r.Builds[0].ID || r.Builds[0].CheckoutID != r.Checkouts[0].ID) {
			t.Errorf("%s belongs to no build", test.Path)
		}
	}
	return r
}

func TestKCIDB(t *testing.T) {
	for _, s := range reporttest.Samples() {
		r := checkKCIDB(t, write(t, "kcidb", s.Open(t)))
		switch s.Name {
		case "pass":
			test := r.Tests[0]
			if test.Origin != "mylab" || test.BuildID != "maestro:66f" || len(r.Builds)+len(r.Checkouts) > 0 {
				t.Errorf("the configured build: %+v", r)
			}
		case "mixed":
			var got []string
			for _, test := range r.Tests {
				got = append(got, test.Status)
			}
			want := "PASS FAIL MISS MISS SKIP PASS FAIL FAIL PASS MISS MISS ERROR MISS"
			if g := strings.Join(got, " "); g != want {
				t.Errorf("statuses %s\nwant     %s", g, want)
			}
			if a := r.Tests[0].Misc.Attempts; !slices.Equal(a, []string{"fail", "pass"}) {
				t.Errorf("attempts %v", a)
			}
		}
	}
}

// The validator finds violations.
func TestKCIDBSchema(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"version":{"major":5}}`, `{"version":{"major":5.5,"minor":3}}`,
		`{"version":{"major":5,"minor":3},"x":1}`,
		`{"version":{"major":5,"minor":3},"tests":[{"id":"a:1","origin":"a"}]}`,
		`{"version":{"major":5,"minor":3},"tests":[{"id":"a:1","origin":"A","build_id":"a:1"}]}`,
		`{"version":{"major":5,"minor":3},"tests":[{"id":"a:1","origin":"a","build_id":"a:1","path":"a b"}]}`,
		`{"version":{"major":5,"minor":3},"tests":[{"id":"a:1","origin":"a","build_id":"a:1","status":"fail"}]}`,
		`{"version":{"major":5,"minor":3},"tests":[{"id":"a:1","origin":"a","build_id":"a:1","comment":null}]}`,
		`{"version":{"major":5,"minor":3},"tests":[{"id":"a:1","origin":"a","build_id":"a:1","misc":{"x":null}}]}`,
		`{"version":{"major":5,"minor":3},"tests":[{"id":"a:1","origin":"a","build_id":"a:1","start_time":"now"}]}`,
		`{"version":{"major":5,"minor":3},"tests":[{"id":"a:1","origin":"a","build_id":"a:1",` +
			`"log_excerpt":"` + strings.Repeat("x", 16385) + `"}]}`,
	} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if kcidb53().check("", v) == nil {
			t.Errorf("valid: %.200s", text)
		}
	}
}
