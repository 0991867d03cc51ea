package flow

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Registry.Err returns all mistakes in registration, each with its place. Correct cases are
// registered all the same.
func TestRegistrationErrors(t *testing.T) {
	f := func(context.Context, *T, int) {}
	one := []Case[int]{{Name: "test_x", Func: f}}
	ps := []param{"p"}
	r := NewRegistry()
	add := func(file string, c Class[param, int]) { Add(r, file, c) }
	add("good", Class[param, int]{Name: "A", Params: ps, Cases: one})
	add("good", Class[param, int]{Params: []param{""}, Cases: one})                                    // no class
	add("good", Class[param, int]{Params: []param{""}, Cases: []Case[int]{{Name: "test_y", Func: f}}}) // no class
	for _, bad := range []struct {
		file string
		c    Class[param, int]
	}{
		{"", Class[param, int]{Name: "A", Params: ps, Cases: one}},
		{"a.py", Class[param, int]{Name: "A", Params: ps, Cases: one}},
		{"b", Class[param, int]{Name: "A::B", Params: ps, Cases: one}},
		{"good", Class[param, int]{Name: "A", Params: ps, Cases: one}},
		{"b", Class[param, int]{Name: "NoCases", Params: ps}},
		{"b", Class[param, int]{Name: "NoParams", Cases: one}},
		{"b", Class[param, int]{Name: "BadNeed", Params: ps, Cases: one, Needs: []Need[param]{{Name: "x"}}}},
		{"b", Class[param, int]{Name: "NoFunc", Params: ps, Cases: []Case[int]{{Name: "test_x"}}}},
		{"b", Class[param, int]{Name: "NoName", Params: ps, Cases: []Case[int]{{Func: f}}}},
		{"b", Class[param, int]{Name: "TwoCases", Params: ps, Cases: append(one, one...)}},
		{"b", Class[param, int]{Name: "TwoParams", Params: []param{"p", "p"}, Cases: one}},
		{"b", Class[param, int]{Name: "BadParam", Params: []param{"p\n"}, Cases: one}},
		{"good", Class[param, int]{Params: []param{""}, Cases: one}},
		{
			"b",
			Class[param, int]{
				Name: "After", Params: ps,
				Cases: []Case[int]{{Name: "test_x", After: "test_y", Func: f}, {Name: "test_y", Func: f}},
			},
		},
	} {
		add(bad.file, bad.c)
	}
	place := regexp.MustCompile(`flow/registry_test.go:\d+`)
	got := place.ReplaceAllString(r.Err().Error(), "HERE")
	want := `HERE: file name "": want letters, digits and _
HERE: file name "a.py": want letters, digits and _
HERE: b: class name "A::B": want letters, digits and _
HERE: good::A is already registered at HERE
HERE: b::NoCases has no cases
HERE: b::NoParams has no parameters (flow.NoParam is for classes without)
HERE: b::BadNeed: need 1 lacks a name or a function
HERE: b::NoFunc::test_x[p] has no function
HERE: b::NoName[p]: case name "": want letters, digits and _
HERE: b::TwoCases::test_x[p] is already registered at HERE
HERE: b::TwoParams::test_x[p] is already registered at HERE
HERE: b::BadParam: parameter "p\n" has non-printable characters
HERE: good::test_x is already registered at HERE
HERE: b::After::test_x[p]: After names test_y, which is not an earlier case of its class`
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	var names []string
	for _, it := range r.Items() {
		if it.ID.File == "good" {
			names = append(names, it.Name)
		}
	}
	if diff := cmp.Diff([]string{"good::A::test_x[p]", "good::test_x", "good::test_y"}, names); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Items are sorted by file, class, parameter and case, in any order of registration. Fields that
// are not set have their defaults.
func TestItems(t *testing.T) {
	r := NewRegistry()
	f := func(context.Context, *T, int) {}
	add := func(file, class string) {
		Add(r, file, Class[param, int]{
			Name: class, Doc: "about " + class, Params: []param{"1", "2"}, Timeout: time.Hour,
			Fixture: Fixture[param, int]{ResetTimeout: time.Second},
			Needs: []Need[param]{
				{Name: "luck", Check: func(context.Context, *Env, param) (string, error) { return "", nil }},
			},
			Cases: []Case[int]{{Name: "x", Func: f}, {Name: "y", Func: f, Timeout: time.Minute, Doc: "about y"}},
		})
	}
	add("b", "B1")
	add("a", "A")
	add("b", "B2")
	Add(r, "c", Class[NoParam, int]{Params: []NoParam{{}}, Cases: []Case[int]{{Name: "z", Func: f}}})
	items := r.Items()
	var names []string
	for _, it := range items {
		names = append(names, it.Name)
	}
	want := "b::B1::x[1] b::B1::y[1] b::B1::x[2] b::B1::y[2] b::B2::x[1] b::B2::y[1] b::B2::x[2] b::B2::y[2]" +
		" a::A::x[1] a::A::y[1] a::A::x[2] a::A::y[2] c::z"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("order %s, want %s", got, want)
	}
	y, z := items[1], items[12]
	y.group, y.run, z.group, z.run = nil, nil, nil, nil
	if diff := cmp.Diff([]Item{{
		ID: ID{"b", "B1", "y", "1"}, Name: "b::B1::y[1]", Doc: "about y", ClassDoc: "about B1", Needs: []string{"luck"},
		Timeout: time.Minute, SetUpTimeout: DefaultSetUpTimeout, ResetTimeout: time.Second,
		TearDownTimeout: DefaultTearDownTimeout,
	}, {
		ID: ID{File: "c", Case: "z"}, Name: "c::z",
		Timeout: DefaultCaseTimeout, SetUpTimeout: DefaultSetUpTimeout, ResetTimeout: DefaultResetTimeout,
		TearDownTimeout: DefaultTearDownTimeout,
	}}, []Item{y, z}, cmp.AllowUnexported(Item{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
