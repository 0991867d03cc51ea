package flow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
)

// unstable returns a case that fails until its n-th call.
func unstable(n int) func(context.Context, *Env, *T) error {
	return func(context.Context, *Env, *T) error {
		if n--; n >= 0 {
			return errBoom
		}
		return nil
	}
}

// The policy decides how often a case runs, on which fixture, and which attempt counts.
func TestPolicy(t *testing.T) {
	const all = "set-up 1; one; reset 1; two; tear-down 1; undo"
	for _, tt := range []struct {
		name    string
		policy  Policy
		do      do
		trace   string
		results string // of all attempts
		final   string
		exit    int
	}{
		{
			"a failed case is tried again with a new fixture",
			Policy{RerunFailed: 2},
			do{"one": unstable(1)},
			all + "; set-up 2; one; tear-down 2; undo", "fail pass pass", "..", ExitPass,
		},
		{
			"not more often than asked for",
			Policy{RerunFailed: 1},
			do{"two": unstable(9)},
			all + "; set-up 2; two; tear-down 2; undo", "pass fail fail", ".F", ExitFail,
		},
		{
			"a set-up, too",
			Policy{RerunFailed: 1},
			do{"set-up 1": fails(errBoom)},
			"set-up 1; undo; set-up 2; one; reset 2; two; tear-down 2; undo", "error error pass pass", "..", ExitPass,
		},
		{
			"a skip is no failure",
			Policy{RerunFailed: 1},
			do{"one": func(_ context.Context, _ *Env, t *T) error { t.Skipf("no"); return nil }},
			all, "skip pass",
			"s.", ExitPass,
		},
		{
			"repeat",
			Policy{Repeat: 2},
			nil, all + "; set-up 2; one; reset 2; two; tear-down 2; undo",
			"pass pass pass pass", "..", ExitPass,
		},
		{"until something fails", Policy{Repeat: 9}, do{"one": func() func(context.Context, *Env, *T) error {
			n := 0
			return func(context.Context, *Env, *T) error {
				if n++; n == 2 {
					return errBoom
				}
				return nil
			}
		}()}, all + "; set-up 2; one; reset 2; two; tear-down 2; undo", "pass pass fail pass", "F.", ExitFail},
		{
			"abort on what happens",
			Policy{AbortOn: []string{"fail"}},
			do{"one": unstable(1)},
			"set-up 1; one; tear-down 1; undo", "fail notrun", "Fn", ExitAborted,
		},
		{
			"on one failure",
			Policy{MaxFail: 1},
			do{"one": unstable(1)},
			"set-up 1; one; tear-down 1; undo",
			"fail notrun", "Fn", ExitFail,
		},
		{"not on fewer failures", Policy{MaxFail: 2}, do{"one": unstable(1)}, all, "fail pass", "F.", ExitFail},
		{
			"on a failed set-up",
			Policy{MaxFail: 1},
			do{"set-up 1": fails(errBoom)},
			"set-up 1; undo", "error notrun",
			"En", ExitError,
		},
		{
			"not on one that is tried again",
			Policy{MaxFail: 1, RerunFailed: 1},
			do{"one": unstable(1)},
			all + "; set-up 2; one; tear-down 2; undo", "fail pass pass", "..", ExitPass,
		},
		{
			"not on what does not",
			Policy{AbortOn: []string{"timeout", "error"}},
			do{"one": unstable(1)},
			all,
			"fail pass", "F.", ExitFail,
		},
		{
			"on a set-up",
			Policy{AbortOn: []string{"error"}},
			do{"set-up 1": fails(errBoom)},
			"set-up 1; undo",
			"error notrun", "En", ExitAborted,
		},
		{
			"only on the last attempt",
			Policy{AbortOn: []string{"fail"}, RerunFailed: 1},
			do{"one": unstable(2)},
			all + "; set-up 2; one; tear-down 2; undo", "fail pass fail", "F.", ExitAborted,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{do: tt.do}
			got := s.run(t.Context(), t, Options{Policy: tt.policy}, "")
			if trace := strings.Join(s.trace, "; "); trace != tt.trace {
				t.Errorf("trace %s\n  want %s", trace, tt.trace)
			}
			if got.results() != tt.results || got.final("") != tt.final || got.ExitCode() != tt.exit {
				t.Errorf(
					"results %s, final %s, exit code %d; want %s, %s, %d", got.results(), got.final(""), got.ExitCode(),
					tt.results, tt.final, tt.exit,
				)
			}
			closed(t, got.entries)
			attempts(t, got)
		})
	}
}

// A case with After is skipped unless that case passed. It runs when that case passes in a rerun.
func TestAfter(t *testing.T) {
	skip := func(_ context.Context, _ *Env, t *T) error { t.Skipf("no"); return nil }
	for _, tt := range []struct {
		name    string
		policy  Policy
		do      do
		trace   string
		results string
	}{
		{"it passed", Policy{}, nil, "set-up 1; one; reset 1; two; tear-down 1; undo", "pass pass"},
		{"it failed", Policy{}, do{"one": fails(errBoom)}, "set-up 1; one; tear-down 1; undo", "fail skip"},
		{"it was skipped", Policy{}, do{"one": skip}, "set-up 1; one; tear-down 1; undo", "skip skip"},
		{"its fixture failed", Policy{}, do{"set-up 1": fails(errBoom)}, "set-up 1; undo", "error skip"},
		{
			"it passed later",
			Policy{RerunFailed: 1},
			do{"one": unstable(1)},
			"set-up 1; one; tear-down 1; undo; set-up 2; one; reset 2; two; tear-down 2; undo", "fail skip pass pass",
		},
		{
			"it never passed",
			Policy{RerunFailed: 1},
			do{"one": fails(errBoom)},
			"set-up 1; one; tear-down 1; undo; set-up 2; one; tear-down 2; undo", "fail skip fail skip",
		},
		{
			"a skip of its own is its last word",
			Policy{RerunFailed: 1},
			do{"two": skip},
			"set-up 1; one; reset 1; two; tear-down 1; undo", "pass skip",
		},
		{
			"it fails alone",
			Policy{RerunFailed: 1},
			do{"two": unstable(1)},
			"set-up 1; one; reset 1; two; tear-down 1; undo; set-up 2; two; tear-down 2; undo", "pass fail pass",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{do: tt.do, after: "one"}
			got := s.run(t.Context(), t, Options{Policy: tt.policy}, "")
			if trace := strings.Join(s.trace, "; "); trace != tt.trace || got.results() != tt.results {
				t.Errorf("trace %s\n  want %s\nresults %s, want %s", trace, tt.trace, got.results(), tt.results)
			}
			closed(t, got.entries)
			for _, e := range got.entries {
				if e.After != "" &&
					(e.ID.Case != "two" || e.Result != Skip || !strings.HasPrefix(e.Reason, "one did not pass: ")) {
					t.Errorf("%+v", e)
				}
			}
		})
	}
}

// attempts checks that the attempts of each case are numbered, and have folders of their own.
func attempts(t *testing.T, got outcome) {
	t.Helper()
	n := map[ID]int{}
	for _, e := range got.entries {
		if e.Phase != PhaseCase || e.Event != End || e.Result == NotRun {
			continue
		}
		n[e.ID]++
		dir := "01-file-Class/" + e.ID.Case
		if n[e.ID] > 1 {
			dir += fmt.Sprint(".", n[e.ID])
		}
		if max(1, e.Attempt) != n[e.ID] || e.Dir != dir {
			t.Errorf("attempt %d of %s: %+v", n[e.ID], e.ID, e)
		}
		if _, err := os.Stat(filepath.Join(got.dir, dir)); err != nil && e.Result != Error {
			t.Error(err)
		}
	}
}

// An interrupt during a rerun leaves the earlier result.
func TestRerunInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	s := &script{
		do: do{
			"one":      fails(errBoom),
			"set-up 2": func(ctx context.Context, _ *Env, _ *T) error { interrupt(); return ctx.Err() },
		},
	}
	got := s.run(ctx, t, Options{Policy: Policy{RerunFailed: 1}}, "")
	if got.results() != "fail pass" || got.ExitCode() != ExitInterrupted {
		t.Errorf("results %s, exit code %d", got.results(), got.ExitCode())
	}
	// A resumed run does the rerun.
	again := (&script{}).resume(t, got.dir, Options{}, "")
	if again.final("") != ".." || again.results() != "fail pass pass" {
		t.Errorf("resumed: %s, %s", again.final(""), again.results())
	}
}

func TestPolicyCheck(t *testing.T) {
	for want, p := range map[string]Policy{
		"--rerun-failed -1":     {RerunFailed: -1},
		"--repeat -2":           {Repeat: -2},
		"give only one of them": {Repeat: 2, RerunFailed: 1},
		`--maxfail -1`:          {MaxFail: -1},
		`--abort-on "pass"`:     {AbortOn: []string{"fail", "pass"}},
		`taint,lockdep`:         {AbortOn: []string{""}},
		`--abort-on "Taint"`:    {AbortOn: []string{"Taint"}},
	} {
		var usage *bench.UsageError
		_, err := Run(t.Context(), nil, Options{Dir: filepath.Join(t.TempDir(), "run"), Policy: p})
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func TestShard(t *testing.T) {
	var params []param
	for i := range 20 {
		params = append(params, param(fmt.Sprint("p", i)))
	}
	items := (&script{}).registry(params...).Items()
	for count := 1; count <= 5; count++ {
		where := map[ID]int{}
		seen := 0
		for i := 1; i <= count; i++ {
			s, err := ParseShard(fmt.Sprintf("%d/%d", i, count))
			if err != nil {
				t.Fatal(err)
			}
			part := s.Take(items)
			seen += len(part)
			for _, it := range part {
				if old, ok := where[it.ID.Fixture()]; ok && old != i {
					t.Errorf("%s is in shards %d and %d", it.ID.Fixture(), old, i)
				}
				where[it.ID.Fixture()] = i
			}
			for _, it := range s.Take(items[7:]) { // a case stays in its shard if the selection changes
				if where[it.ID.Fixture()] != i {
					t.Errorf("%s has moved", it.ID)
				}
			}
			if len(part) == 0 || count > 1 && len(part) == len(items) {
				t.Errorf("%d of %d items in shard %d of %d", len(part), len(items), i, count)
			}
		}
		if seen != len(items) {
			t.Errorf("%d items in %d shards, want %d", seen, count, len(items))
		}
	}
	for _, bad := range []string{
		"", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1/ 2", "9999999/9999999", "1/2\n",
	} {
		if s, err := ParseShard(bad); err == nil {
			t.Errorf("%q: %v", bad, s)
		}
	}
}

const quarantineFile = `{"quarantine": [
  {"id": "file::Class::one[a]", "reason": "flaky", "link": "https://bugs.example/1", "expires": "2026-11-30"},
  {"id": "two", "reason": "old", "expires": "2026-11-23"},
  {"id": "three", "reason": "gone", "expires": "2027-01-01"}
]}`

// Results of cases in quarantine do not count. An entry expires at the end of its day.
func TestQuarantine(t *testing.T) {
	list, err := ParseQuarantine("q.json", []byte(quarantineFile))
	if err != nil {
		t.Fatal(err)
	}
	day := func(d int, h int) time.Time { return time.Date(2026, 11, d, h, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		now   time.Time
		which string
		notes int
		exit  int
	}{
		{day(23, 23), "one[a] two[a] two[b]", 1, ExitPass},
		{day(24, 0), "one[a]", 2, ExitPass},
		{day(30, 23), "one[a]", 2, ExitPass},
		{day(31, 0), "", 3, ExitFail},
	} {
		s := &script{do: do{"one": func(_ context.Context, _ *Env, t *T) error {
			if t.ID().Param == "a" {
				return errBoom
			}
			return nil
		}}}
		r := s.registry("a", "b")
		items := r.Items()
		notes, err := r.Quarantine(items, list, tt.now)
		if err != nil || len(notes) != tt.notes {
			t.Errorf("%v: notes %q, %v", tt.now, notes, err)
		}
		var which []string
		for _, it := range items {
			if it.Quarantine != nil {
				which = append(which, fmt.Sprintf("%s[%s]", it.ID.Case, it.ID.Param))
			}
		}
		slices.Sort(which)
		if strings.Join(which, " ") != tt.which {
			t.Errorf("%v: in quarantine are %q, want %s", tt.now, which, tt.which)
		}
		dir := filepath.Join(t.TempDir(), "run")
		sum, err := Run(t.Context(), items, Options{Dir: dir, Policy: Policy{AbortOn: []string{"fail"}}})
		wantExit := tt.exit
		if wantExit == ExitFail {
			wantExit = ExitAborted // the result counts again
		}
		if err != nil || sum.ExitCode() != wantExit || sum.Counts[Fail] != 1 {
			t.Errorf("%v: exit code %d, %v, %v; want %d", tt.now, sum.ExitCode(), sum.Counts, err, wantExit)
		}
		run, err := OpenRun(dir)
		if err != nil || (run.Info.Plan[0].Quarantine != nil) != strings.Contains(tt.which, "one[a]") {
			t.Errorf("plan: %+v, %v", run.Info.Plan[0].Quarantine, err)
		}
	}
}

func TestParseQuarantineErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"quarantine": [{"id": "a", "reason": "r", "expires": "soon"}]}`: `q.json:1:55: quarantine.0.expires: ` +
			`"soon" is not a date, want YYYY-MM-DD`,
		"{\"quarantine\": [\n{\"id\": \"a\", \"why\": \"r\"}]}": "q.json:2:13: quarantine.0.why: " +
			"unknown key",
		`{"quarantine": [{"id": "a", "reason": "r"}]}`: "q.json: quarantine.0: expires is " +
			"missing",
		`{"quarantine": [{"reason": "r", "expires": "2026-01-01"}]}`: "q.json: quarantine.0: id is missing",
		`{"quarantine": [{"id": "a", "expires": "2026-01-01"}]}`: "q.json: quarantine.0: reason is " +
			"missing",
		`{"quarantine": [{"id": "a[", "reason": "r", "expires": "2026-01-01"}]}`: "the bracket is not closed",
		`{"quarantine": [`: "q.json:1:17: ",
	} {
		_, err := ParseQuarantine("q.json", []byte(text))
		var usage *bench.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseQuarantine(f *testing.F) {
	f.Add([]byte(quarantineFile))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseQuarantine("q", data)
		if err != nil {
			return
		}
		items := (&script{}).registry("a").Items()
		if _, err := (&script{}).registry("a").Quarantine(items, list, time.Unix(0, 0)); err != nil {
			t.Errorf("what was parsed cannot be used: %v", err)
		}
	})
}
