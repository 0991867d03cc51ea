package flow

import (
	"context"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"vmtb/bench"
)

type param string

func (p param) String() string { return string(p) }

// upstream returns a registry of all flows of the Python tool, and their ids in the form of that
// tool.
func upstream(t testing.TB) (*Registry, []string) {
	t.Helper()
	data, err := os.ReadFile("testdata/upstream-ids.txt")
	if err != nil {
		t.Fatal(err)
	}
	ids := strings.Split(strings.TrimSpace(string(data)), "\n")
	form := regexp.MustCompile(`^(\w+)\.py::(?:(\w+)::)?(\w+)(?:\[(.*)\])?$`)
	type class struct{ file, name string }
	var order []class
	params := map[class][]param{}
	cases := map[class][]Case[int]{}
	for _, line := range ids {
		m := form.FindStringSubmatch(line)
		c := class{m[1], m[2]}
		if !slices.Contains(order, c) {
			order = append(order, c)
		}
		if !slices.Contains(params[c], param(m[4])) {
			params[c] = append(params[c], param(m[4]))
		}
		if !slices.ContainsFunc(cases[c], func(k Case[int]) bool { return k.Name == m[3] }) {
			cases[c] = append(cases[c], Case[int]{Name: m[3], Func: func(context.Context, *T, int) {}})
		}
	}
	r := NewRegistry()
	for _, c := range order {
		Add(r, c.file, Class[param, int]{Name: c.name, Params: params[c], Cases: cases[c]})
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return r, ids
}

func TestUpstreamIDs(t *testing.T) {
	r, ids := upstream(t)
	items := r.Items()
	if len(ids) != 195 || len(items) != len(ids) {
		t.Fatalf("%d ids, %d items, want 195 of each", len(ids), len(items))
	}
	for i, it := range items {
		if got := it.ID.ResultsKey(); got != "vmtb@"+ids[i] {
			t.Errorf("results key %q, want %q", got, "vmtb@"+ids[i])
		}
		canonical := strings.Replace(ids[i], ".py::", "::", 1)
		if it.Name != canonical {
			t.Errorf("name %q, want %q", it.Name, canonical)
		}
		for _, form := range []string{
			canonical, ids[i], "vmtb@" + ids[i], "vmm_flows/" + ids[i], "./vmm_flows/" + ids[i],
			"/usr/libexec/vmtb/vmm_flows/" + canonical,
		} {
			got, notes, err := r.Select([]string{form})
			if err != nil || len(got) != 1 || got[0].ID != it.ID || notes != nil {
				t.Errorf("%s selects %v, notes %q, error %v", form, got, notes, err)
			}
		}
	}
}

func TestSelect(t *testing.T) {
	r, _ := upstream(t)
	const d = "(P:VGPU_PROFILE S:DEFAULT_PROFILE)"
	tests := []struct {
		patterns []string
		n        int
		first    string // "" is not checked
		notes    []string
	}{
		{nil, 195, "", nil},
		{[]string{"*"}, 195, "", nil},
		{[]string{"vmm_flows/"}, 195, "", nil},
		{[]string{"./"}, 195, "", nil},
		{[]string{"test_basic"}, 13, "", nil},
		{[]string{"test_basic/"}, 13, "", nil},
		{[]string{"test_basic.py"}, 13, "", nil},
		{[]string{"vmm_flows/test_basic.py/"}, 13, "", nil},
		{[]string{"vmm_flows/*.py"}, 195, "", nil},
		{[]string{"vmm_flows/test_basic.py::TestVmSetup"}, 3, "", nil},
		{[]string{"TestVmSetup"}, 3, "", nil},
		{[]string{"test_vm_boot"}, 3, "", nil},
		{[]string{"::test_vm_boot"}, 3, "", nil},
		{[]string{"test_basic::test_vm_boot"}, 3, "", nil},
		{[]string{"TestVmSetup::test_vm_boot"}, 3, "", nil},
		{[]string{"TestVm*"}, 9, "", nil},
		{[]string{"test_basic::*::test_store"}, 3, "", nil},
		{[]string{"*boot*"}, 3, "", nil},
		{[]string{"*Setup*AUTO*"}, 1, "", nil},
		{[]string{"test_vm_boot[1VF*"}, 1, "", nil},
		{[]string{"test_vm_boot[*INFINITE)]"}, 1, "", nil},
		{[]string{"test_2vm_pause_resume"}, 1, "test_migration::test_2vm_pause_resume", nil},
		{[]string{"test_migration.py::test_2vm_pause_resume"}, 1, "", nil},
		{
			[]string{"test_basic::TestVmSetup::test_vm_boot[1VF]"},
			1, "test_basic::TestVmSetup::test_vm_boot[1VF-" + d + "]",
			[]string{
				"test_basic::TestVmSetup::test_vm_boot[1VF] selects 1 flow: " +
					"test_basic::TestVmSetup::test_vm_boot[1VF-" + d + "]",
			},
		},
		{
			[]string{"TestVmSetup[2VF]"},
			2, "",
			[]string{"TestVmSetup[2VF] selects 2 flows"},
		},
		// An exact parameter does not match longer parameters.
		{
			[]string{"test_save[1VF-(P:AUTO S:DEFAULT_PROFILE)]"},
			2,
			"test_migration::TestIdleMigration::test_save[1VF-(P:AUTO S:DEFAULT_PROFILE)]", nil,
		},
		// A case that two patterns match is selected once, in the order of the plan.
		{
			[]string{"TestVmWorkload", "test_basic", "TestVmSetup"},
			13,
			"test_basic::TestVmSetup::test_vm_boot[1VF-" + d + "]", nil,
		},
	}
	for _, tt := range tests {
		items, notes, err := r.Select(tt.patterns)
		if err != nil || len(items) != tt.n || tt.first != "" && items[0].Name != tt.first {
			t.Errorf("%q selects %d, error %v; want %d, first %q", tt.patterns, len(items), err, tt.n, tt.first)
		}
		if diff := cmp.Diff(tt.notes, notes); diff != "" {
			t.Errorf("%q: notes (-want +got)\n%s", tt.patterns, diff)
		}
	}
	if _, notes, err := r.Select([]string{"[1VF]"}); err != nil || len(notes) != 1 || len(notes[0]) > 40 {
		t.Errorf("[1VF]: notes %q, error %v", notes, err)
	}
}

func TestSelectNothing(t *testing.T) {
	r, _ := upstream(t)
	for pattern, want := range map[string]string{
		"test_basic::TestVmSetup::test_vm_boot[3VF]": `no flow matches "test_basic::TestVmSetup::test_vm_boot[3VF]" ` +
			`(these exist: [1VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)] [2VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)] ` +
			`[2VF-(P:AUTO S:INFINITE)])`,
		"TestVMSetup":            `no flow matches "TestVMSetup" (did you mean TestVmSetup?)`,
		"test_basc::TestVmSetp":  `no flow matches "test_basc::TestVmSetp" (did you mean test_basic::TestVmSetup?)`,
		"vmm_flows/tst_basic.py": `no flow matches "vmm_flows/tst_basic.py" (did you mean test_basic?)`,
		"xyzzy":                  `no flow matches "xyzzy" (see vmtb list)`,
		"[1vf]":                  ``,
		"test_basc/":             `no flow matches "test_basc/" (did you mean test_basic or test_save?)`,
		"::":                     `selection "::": it names no flow`, "/": `no flow matches "/" (see vmtb list)`,
		"[":                       `selection "[": the bracket is not closed`,
		"test_vm_boot[1VF":        `selection "test_vm_boot[1VF": the bracket is not closed`,
		" ":                       `selection " ": it is empty`,
		"TestVmSetup::test_basic": ``,
	} {
		items, _, err := r.Select([]string{"TestVmSetup", pattern})
		var usage *bench.UsageError
		if !errors.As(err, &usage) || items != nil {
			t.Errorf("%q selects %d, error %v", pattern, len(items), err)
			continue
		}
		if want != "" && err.Error() != want {
			t.Errorf("%q:\n%s, want\n%s", pattern, err, want)
		}
	}
	_, _, err := r.Select([]string{"nope", "nor_this"})
	if !errors.Is(err, ErrNoMatch) || !strings.Contains(err.Error(), "nor_this") {
		t.Errorf("two bad patterns: %v", err)
	}
}

// glob matches like the regular expression for its pattern.
func TestGlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[ab\[*]{0,8}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab\[*]{0,12}`).Draw(t, "text")
		re := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, ".*") + "$")
		if got := glob(p, s); got != re.MatchString(s) {
			t.Fatalf("glob(%q, %q) = %v", p, s, got)
		}
	})
}

// distance is a metric, and equals the number of edits.
func TestDistance(t *testing.T) {
	word := rapid.StringMatching(`[abc]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := word.Draw(t, "a"), word.Draw(t, "b"), word.Draw(t, "c")
		if (distance(a, b) == 0) != (a == b) || distance(a, b) != distance(b, a) ||
			distance(a, c) > distance(a, b)+distance(b, c) {
			t.Fatalf("not a metric: %q %q %q", a, b, c)
		}
		i := rapid.IntRange(0, len(a)).Draw(t, "i")
		if d := distance(a, a[:i]+"x"+a[i:]); d != 1 {
			t.Fatalf("one insertion is %d", d)
		}
	})
}

func FuzzSelect(f *testing.F) {
	for _, s := range []string{
		"[1VF]", "vmm_flows/", "a.py::B::c[d]", "*", "vmtb@test_basic.py::T::c[x", "[*", "::", "/::[]", "*.py/::*[",
	} {
		f.Add(s)
	}
	r, _ := upstream(f)
	f.Fuzz(func(t *testing.T, s string) {
		items, _, err := r.Select([]string{s})
		if (err == nil) == (len(items) == 0) {
			t.Errorf("%q: %d items and error %v", s, len(items), err)
		}
	})
}
