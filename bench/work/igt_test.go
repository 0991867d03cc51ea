package work_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"vmtb/bench"
	"vmtb/bench/work"
)

// fakeIGT returns a configuration whose programs are the fakes in testdata.
func fakeIGT(t *testing.T) bench.IGTConfig {
	t.Helper()
	bin, err := filepath.Abs("testdata/bin")
	if err != nil {
		t.Fatal(err)
	}
	return bench.IGTConfig{
		TestDir: bin + "/", ToolDir: bin, LibDir: "/opt/igt lib", ResultDir: t.TempDir() + "/results",
		Options: "-n 'a name'",
	}
}

func TestIGT(t *testing.T) {
	for _, c := range []struct {
		name    string
		igt     work.IGT
		verdict work.Verdict
		reason  string
		totals  string
	}{
		{"pass", work.IGT{Tests: []string{"igt@a@pass"}}, work.Pass, "", "1 pass"},
		{"repeat", work.IGT{Tests: []string{"igt@a@pass", "igt@b@pass"}, Repeat: 3}, work.Pass, "", "6 pass"},
		{
			"fail",
			work.IGT{Tests: []string{"igt@a@pass", "igt@a@fail"}},
			work.Fail,
			"igt@a@fail: fail: LD_LIBRARY_PATH=/opt/igt lib", "1 pass, 1 fail",
		},
		{
			"skip",
			work.IGT{Tests: []string{"igt@a@pass", "igt@a@skip"}},
			work.Skip, "skipped: igt@a@skip",
			"1 pass, 1 skip",
		},
		{
			"skip fails",
			work.IGT{Tests: []string{"igt@a@pass", "igt@a@skip"}, Skips: work.SkipFails},
			work.Fail,
			"skipped: igt@a@skip", "1 pass, 1 skip",
		},
		{
			"skip ignored",
			work.IGT{Tests: []string{"igt@a@pass", "igt@a@skip"}, Skips: work.SkipMinor},
			work.Pass, "",
			"1 pass, 1 skip",
		},
		{
			"all skipped",
			work.IGT{Tests: []string{"igt@a@skip"}, Skips: work.SkipMinor},
			work.Skip,
			"skipped: igt@a@skip", "1 skip",
		},
		{
			"blocked",
			work.IGT{Tests: []string{"igt@a@pass", "igt@b@fail"}, Blocklist: []string{"igt@b.*"}},
			work.Pass,
			"", "1 pass",
		},
		{
			"all blocked",
			work.IGT{Tests: []string{"igt@b@fail"}, Blocklist: []string{"igt@b.*"}},
			work.Fail,
			"no test was run", "",
		},
		{"nothing", work.IGT{Tests: []string{"igt@a@nothing"}}, work.Fail, "left no results.json: ", "-"},
		{"garbage", work.IGT{Tests: []string{"igt@a@garbage"}}, work.Fail, "results.json: ", "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.igt.Config = fakeIGT(t)
			run := start(t, this(), c.igt)
			r := wait(t, run)
			if r.Verdict != c.verdict || !strings.Contains(r.Reason, c.reason) {
				t.Errorf("%s %q, want %s %q", r.Verdict, r.Reason, c.verdict, c.reason)
			}
			if r.IGT == nil != (c.totals == "-") || r.IGT != nil && r.IGT.Totals.String() != c.totals {
				t.Errorf("results %+v", r.IGT)
			}
			if r.IGT != nil && r.IGT.Name != "a name" {
				t.Errorf("the options did not reach it: %q", r.IGT.Name)
			}
			if err := run.Remove(t.Context()); err != nil {
				t.Error(err)
			}
			if left, err := os.ReadDir(c.igt.Config.ResultDir); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// Runs that share a configuration and run at the same time do not mix their results.
func TestIGTAtOnce(t *testing.T) {
	config := fakeIGT(t)
	var wg sync.WaitGroup
	for _, test := range []string{"igt@first@slow", "igt@second@slow", "igt@third@fail"} {
		wg.Go(func() {
			r, err := work.Do(t.Context(), this(), work.IGT{Config: config, Tests: []string{test}}, work.Options{
				Base: t.TempDir(),
			})
			if err != nil || len(r.IGT.Tests) != 1 || r.IGT.Tests[0].Name != test ||
				r.IGT.Totals.Good()+r.IGT.Totals.Bad() != 1 {
				t.Errorf("%s: %+v, %v", test, r, err)
			}
		})
	}
	wg.Wait()
}

func TestIGTKilled(t *testing.T) {
	run := start(t, this(), work.IGT{Config: fakeIGT(t), Tests: []string{"igt@a@hang"}})
	for len(members(t, run)) < 4 { // supervisor, runner, its shell and two sleeps
		if on, err := run.Running(t.Context()); !on || err != nil {
			t.Fatal(on, err)
		}
	}
	if err := run.Kill(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	r := wait(t, run)
	if r.Verdict != work.Fail || !strings.Contains(r.Reason, "killed by signal") || len(members(t, run)) > 0 {
		t.Errorf("%+v, left %v", r, members(t, run))
	}
}

func golden(t testing.TB, name string) *work.IGTResults {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := work.ParseIGT(data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseIGT(t *testing.T) {
	mixed := golden(t, "mixed.json")
	got := map[string]work.Status{}
	for _, test := range mixed.Tests {
		got[strings.TrimPrefix(test.Name, "igt@xe_fake@")] = test.Status
	}
	want := map[string]work.Status{
		"good": "pass", "skipped": "skip", "bad": "fail", "crashes": "crash", "hangs": "timeout", "stops": "incomplete",
		"warns": "warn", "noisy": "dmesg-warn", "noisy-bad": "dmesg-fail", "latin": "pass", "dyn": "pass",
		"dyn@gt0": "pass", "dyn@gt1": "skip",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := mixed.Totals.String(); s != "1 crash, 4 pass, 1 dmesg-fail, 1 dmesg-warn, 2 skip, 1 incomplete, 1 "+
		"timeout, 1 fail, 1 warn" ||
		len(mixed.Totals) != 11 || mixed.Totals.Good() != 6 || mixed.Totals.Bad() != 5 {
		t.Errorf("%s", s)
	}
	if first := mixed.Tests[0]; first.Name != "igt@xe_fake@good" || first.Duration != 12*time.Millisecond ||
		!strings.HasPrefix(first.Out, "IGT-Version") {
		t.Errorf("%+v", first)
	}
	if noisy := mixed.Tests[7]; noisy.DmesgWarnings == "" || noisy.Dmesg == "" {
		t.Errorf("%+v", noisy)
	}
	if s := golden(t, "aborted.json").Totals.String(); s != "3 pass, 1 abort, 1 notrun, 1 fail" {
		t.Errorf("aborted: %s", s)
	}
}

func TestParseIGTRefuses(t *testing.T) {
	good, err := os.ReadFile("testdata/aborted.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{`"result": "abort"`, `"result": "fell over"`, "unknown result"},
		{`"result": "abort"`, `"result": 7`, "result"},
		{`"result": "abort",`, ``, "unknown result"},
		{`"root": {`, `"other": {`, "no totals.root"},
		{`"notrun": 1`, `"more": 1`, "totals.root.notrun is missing"},
		{`"notrun": 1`, `"notrun": -1`, "negative"},
		{`"notrun": 1`, `"notrun": "1"`, "notrun"},
		{`TestrunResult`, `Other`, "__type__"},
		{`"results_version": 10`, `"results_version": 9`, "results_version 9"},
		{`"tests": {`, `"tests": 5, "x": {`, "not an object"},
	} {
		bad := strings.ReplaceAll(string(good), c[0], c[1])
		if r, err := work.ParseIGT([]byte(bad)); bad == string(good) || err == nil ||
			!strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s for %s: %v, %v", c[1], c[0], r, err)
		}
	}
	if _, err := work.ParseIGT(good[:len(good)/2]); err == nil {
		t.Error("half a file taken")
	}
	odd := strings.ReplaceAll(string(good), "SUCCESS", "\xff\xfe") // the results have unknown members everywhere, too
	if r, err := work.ParseIGT([]byte(strings.Replace(odd, `"tests"`, `"new": {"x": [1]}, "tests"`, 1))); err != nil ||
		len(r.Tests) != 4 {
		t.Errorf("%v, %v", r, err)
	}
}

func FuzzParseIGT(f *testing.F) {
	for _, name := range []string{"mixed.json", "aborted.json", "missing.json"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := work.ParseIGT(data)
		if (r == nil) == (err == nil) {
			t.Fatal(r, err)
		}
		if r != nil && (len(r.Totals) != 11 || r.Totals.Good() < 0 && r.Totals.Bad() < 0) {
			t.Errorf("totals %v", r.Totals)
		}
	})
}

func TestTestTypes(t *testing.T) {
	ids, err := os.ReadFile("testdata/igt_types.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, tt := range work.TestTypes() {
		name, err := tt.Test("xe")
		if err != nil || !strings.HasPrefix(name, "igt@xe_") {
			t.Errorf("%v: %q, %v", tt, name, err)
		}
		known[tt.String()] = true
		if name, err := tt.Test("i915"); err != nil && !errors.Is(err, bench.ErrNotAvailable) ||
			err == nil && !strings.HasPrefix(name, "igt@gem_") {
			t.Errorf("%v on i915: %q, %v", tt, name, err)
		}
	}
	for id := range strings.FieldsSeq(string(ids)) {
		if !known[id] {
			t.Errorf("%s is not known", id)
		}
	}
	var usage *bench.UsageError
	if _, err := work.ExecStore.Test("nouveau"); !errors.As(err, &usage) {
		t.Errorf("nouveau: %v", err)
	}
	if name, err := work.SpinBatch.Test("i915"); name != "igt@gem_spin_batch@legacy" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
}

// A line of options is split as a shell splits it.
func TestOptions(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[ -~]{0,8}`), 0, 4).Draw(rt, "words")
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = bench.Quote(w)
			if rapid.Bool().Draw(rt, "double") {
				quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(w) + `"`
			}
		}
		got, err := work.SplitWords(strings.Join(quoted, " \t"))
		if err != nil || !cmp.Equal(append([]string{}, words...), append([]string{}, got...)) {
			rt.Errorf("%q: %q, %v", quoted, got, err)
		}
	})
	for _, bad := range []string{`'a`, `"`, `a\`} {
		if got, err := work.SplitWords(bad); err == nil {
			t.Errorf("%s: %q", bad, got)
		}
	}
}

func TestPrograms(t *testing.T) {
	g := work.IGT{
		Config: bench.IGTConfig{TestDir: "/t/", ToolDir: "/bin"},
		Tests:  []string{"igt@b@x", "igt@a", "igt@b@y", "no test"},
	}
	if got := g.Programs(); !slices.Equal(got, []string{"/bin/igt_runner", "/t/a", "/t/b"}) {
		t.Errorf("got %q", got)
	}
}
