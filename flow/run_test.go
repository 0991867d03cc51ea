package flow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"vmtb/bench"
	"vmtb/bench/undo"
)

// A script has the code of a test's flows, by place: "set-up 1", "one", "reset", "tear-down". The
// code records its calls in trace.
type script struct {
	do    map[string]func(ctx context.Context, env *Env, t *T) error
	after string // After of the case "two"
	undo  fakeUndo
	mu    sync.Mutex
	trace []string
}

func (s *script) at(ctx context.Context, place string, env *Env, t *T) error {
	s.note(place)
	if do := s.do[place]; do != nil {
		return do(ctx, env, t)
	}
	return nil
}

func (s *script) note(place string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace = append(s.trace, place)
}

// registry returns a registry of the cases "one" and "two" for each parameter.
func (s *script) registry(params ...param) *Registry {
	r := NewRegistry()
	value := 0
	Add(r, "file", Class[param, int]{
		Name: "Class", Params: params, Timeout: time.Minute, AllowLog: []string{"^class may$"},
		Fixture: Fixture[param, int]{
			SetUp: func(ctx context.Context, env *Env, p param) (int, error) {
				value++
				n := value
				return n, s.at(ctx, fmt.Sprintf("set-up %s%d", p, n), env, nil)
			},
			Reset: func(ctx context.Context, env *Env, v int) error {
				return s.at(ctx, fmt.Sprint("reset ", v), env, nil)
			},
			TearDown: func(ctx context.Context, env *Env, v int) error {
				return s.at(ctx, fmt.Sprint("tear-down ", v), env, nil)
			},
			SetUpTimeout:    time.Minute,
			ResetTimeout:    time.Minute,
			TearDownTimeout: time.Minute,
		},
		Needs: []Need[param]{{Name: "luck", Check: func(ctx context.Context, env *Env, p param) (string, error) {
			if p == "unlucky" {
				return "there is none", nil
			}
			if p == "unknown" {
				return "", errors.New("who knows")
			}
			if answer, later := strings.CutPrefix(string(p), "later"); later {
				if s.note("look"); len(s.trace) < 2 {
					return "", fmt.Errorf("cannot be seen yet: %w", ErrLater)
				}
				return strings.TrimSpace(answer), nil
			}
			return "", nil
		}}},
		Cases: []Case[int]{
			{
				Name: "one", AllowLog: []string{"^one may$"},
				Func: func(ctx context.Context, t *T, v int) { s.fatal(ctx, "one", t) },
			},
			{Name: "two", After: s.after, Func: func(ctx context.Context, t *T, v int) { s.fatal(ctx, "two", t) }},
		},
	})
	return r
}

func (s *script) fatal(ctx context.Context, place string, t *T) {
	if err := s.at(ctx, place, t.Env(), t); err != nil {
		t.Fatal(err)
	}
}

type fakeUndo struct {
	s    *script
	err  error
	done []string
}

func (u *fakeUndo) Do(_ context.Context, r undo.Record, change func() error) error {
	u.done = append(u.done, r.String())
	return change()
}

func (u *fakeUndo) Undo(context.Context) error {
	u.s.note("undo")
	return u.err
}

// An outcome is a run that has ended.
type outcome struct {
	Summary
	entries []Entry
	dir     string
}

func (s *script) run(ctx context.Context, t *testing.T, o Options, params ...param) outcome {
	t.Helper()
	s.undo.s = s
	r := s.registry(params...)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	var seen []Entry
	o.Dir = filepath.Join(t.TempDir(), "run")
	o.OpenUndo = func(string) (Undo, error) { return &s.undo, nil }
	o.Observer = func(e Entry) { seen = append(seen, e) }
	sum, err := Run(ctx, r.Items(), o)
	if err != nil {
		t.Fatal(err)
	}
	run, err := OpenRun(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if run.Alive || run.Torn {
		t.Errorf("alive %v, torn %v after the end", run.Alive, run.Torn)
	}
	if diff := cmp.Diff(seen, all(t, run)); diff != "" {
		t.Errorf("the observer did not see what is on disk (-seen +disk)\n%s", diff)
	}
	var again Summary
	for _, e := range run.Entries {
		again.Add(e)
	}
	again.Dir, again.Total = sum.Dir, sum.Total
	if diff := cmp.Diff(sum, again, cmpopts.IgnoreUnexported(Summary{})); diff != "" {
		t.Errorf("the journal's summary differs (-run +journal)\n%s", diff)
	}
	last := run.Entries[len(run.Entries)-1]
	if last.Phase != PhaseRun || last.ExitCode == nil || *last.ExitCode != sum.ExitCode() {
		t.Errorf("the last entry is %+v, want the run's end with exit code %d", last, sum.ExitCode())
	}
	return outcome{sum, all(t, run), o.Dir}
}

// end returns the last end entry of a phase, or of the case called what.
func (o outcome) end(t *testing.T, what string) Entry {
	t.Helper()
	for _, e := range slices.Backward(o.entries) {
		if e.Event == End && (e.ID.Case == what || e.Phase == Phase(what) && e.Phase != PhaseCase) {
			return e
		}
	}
	t.Fatalf("%s has no end", what)
	return Entry{}
}

func (o outcome) results() string {
	var out []string
	for _, e := range o.entries {
		if e.Event == End && e.Phase == PhaseCase {
			out = append(out, string(e.Result))
		}
	}
	return strings.Join(out, " ")
}

type do = map[string]func(ctx context.Context, env *Env, t *T) error

func fails(err error) func(context.Context, *Env, *T) error {
	return func(context.Context, *Env, *T) error { return err }
}

func panics(context.Context, *Env, *T) error { panic("on purpose") }

// heeds returns when its context ends; hangs does not return.
func heeds(ctx context.Context, _ *Env, _ *T) error { <-ctx.Done(); return ctx.Err() }

var errBoom = errors.New("boom")

// The order of calls, the results and the exit code are right in each situation.
func TestRun(t *testing.T) {
	const all = "set-up 1; one; reset 1; two; tear-down 1; undo"
	infra := &bench.InfraError{Op: "start QEMU", Err: errBoom}
	tests := []struct {
		name    string
		do      do
		trace   string
		results string
		exit    int
		entry   string // the end to check: a phase or a case
		reason  string // of that entry; "" is not checked
		blame   Blame
	}{
		{"pass", nil, all, "pass pass", 0, "one", "", ""},
		{"fail", do{"one": fails(errBoom)}, all, "fail pass", 1, "one", "boom", ""},
		{
			"guest's fault",
			do{"two": fails(&bench.GuestError{Machine: "vm0", Op: "load xe", Err: errBoom})},
			all,
			"pass fail", 1, "two", "vm0: load xe: boom", BlameGuest,
		},
		{
			"bench's fault",
			do{"one": fails(fmt.Errorf("vm0: %w", infra))},
			all, "error pass", 3, "one",
			"vm0: start QEMU: boom", BlameInfra,
		},
		{
			"first failure decides",
			do{"one": func(_ context.Context, _ *Env, t *T) error { t.Errorf("wrong"); return infra }},
			all,
			"fail pass", 1, "one", "wrong\nstart QEMU: boom", "",
		},
		{
			"skip",
			do{"one": func(_ context.Context, _ *Env, t *T) error { t.Skipf("no %s", "GPU"); return nil }},
			all,
			"skip pass", 0, "one", "no GPU", "",
		},
		{
			"panic",
			do{"one": panics},
			"set-up 1; one; tear-down 1; undo; set-up 2; two; tear-down 2; undo",
			"fail pass", 1, "one", "panic: on purpose", "",
		},
		{
			"set-up fails",
			do{"set-up 1": fails(infra)},
			"set-up 1; undo", "error error", 3, "two",
			"set-up failed: start QEMU: boom", BlameInfra,
		},
		{
			"set-up panics",
			do{"set-up 1": panics},
			"set-up 1; undo", "error error", 3, "set-up", "panic: on purpose",
			"",
		},
		{
			"reset fails",
			do{"reset 1": fails(errBoom)},
			"set-up 1; one; reset 1; tear-down 1; undo; set-up 2; two; tear-down 2; undo", "pass pass", 0, "reset",
			"boom", "",
		},
		{
			"reset panics",
			do{"reset 1": panics},
			"set-up 1; one; reset 1; tear-down 1; undo; set-up 2; two; tear-down 2; undo", "pass pass", 0, "reset",
			"panic: on purpose", "",
		},
		{"tear-down fails", do{"tear-down 1": fails(errBoom)}, all, "pass pass", 3, "tear-down", "boom", ""},
		{"tear-down panics", do{"tear-down 1": panics}, all, "pass pass", 3, "tear-down", "panic: on purpose", ""},
		{
			"fail and tear-down fails",
			do{"one": fails(errBoom), "tear-down 1": fails(errBoom)},
			all, "fail pass", 1,
			"tear-down", "boom", "",
		},
		{
			"second set-up fails",
			do{"reset 1": fails(errBoom), "set-up 2": fails(errBoom)},
			"set-up 1; one; reset 1; tear-down 1; undo; set-up 2; undo", "pass error", 3, "two", "set-up failed: boom",
			"",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{do: tt.do}
			got := s.run(t.Context(), t, Options{}, "")
			if trace := strings.Join(s.trace, "; "); trace != tt.trace {
				t.Errorf("trace %s\n  want %s", trace, tt.trace)
			}
			if got.results() != tt.results || got.ExitCode() != tt.exit {
				t.Errorf("results %s, exit code %d; want %s, %d", got.results(), got.ExitCode(), tt.results, tt.exit)
			}
			e := got.end(t, tt.entry)
			if e.Reason != tt.reason || e.Blame != tt.blame {
				t.Errorf("%s: reason %q, blame %q; want %q, %q", tt.entry, e.Reason, e.Blame, tt.reason, tt.blame)
			}
			if strings.Contains(tt.name, "panic") != (e.Stack != "") {
				t.Errorf("stack %q", e.Stack)
			}
			if e.Result == Fail && !strings.HasPrefix(e.Where, "flow/run_test.go:") {
				t.Errorf("where %q", e.Where)
			}
		})
	}
}

func TestNeeds(t *testing.T) {
	s := &script{}
	got := s.run(t.Context(), t, Options{}, "unlucky", "unknown", "ok")
	if want := "skip skip error error pass pass"; got.results() != want {
		t.Errorf("results %s, want %s", got.results(), want)
	}
	if want := "undo; undo; set-up ok1; one; reset 1; two; tear-down 1; undo"; strings.Join(s.trace, "; ") != want {
		t.Errorf("trace %q, want %s", s.trace, want)
	}
	var reasons []string
	for _, e := range got.entries {
		if e.Phase == PhaseCase && e.Reason != "" {
			reasons = append(reasons, e.Reason)
		}
	}
	if want := []string{
		"need luck: there is none", "need luck: there is none", "need luck: who knows", "need luck: who knows",
	}; !slices.Equal(reasons, want) {
		t.Errorf("reasons %q, want %q", reasons, want)
	}
}

// SetUp checks a need again that depends on a prepared host. If it does not, the engine does so
// after SetUp.
func TestNeedsLater(t *testing.T) {
	ask := do{"set-up later none1": func(ctx context.Context, env *Env, _ *T) error { return env.CheckNeeds(ctx) }}
	for _, tt := range []struct {
		do             do
		param          param
		results, trace string
	}{
		{nil, "later", "pass pass", "look; set-up later1; look; one; reset 1; two; tear-down 1; undo"},
		{nil, "later none", "skip skip", "look; set-up later none1; look; tear-down 1; undo"},
		{ask, "later none", "skip skip", "look; set-up later none1; look; undo"},
	} {
		s := &script{do: tt.do}
		got := s.run(t.Context(), t, Options{}, tt.param)
		if trace := strings.Join(s.trace, "; "); got.results() != tt.results || trace != tt.trace {
			t.Errorf("%s: %s, %q; want %s, %q", tt.param, got.results(), trace, tt.results, tt.trace)
		}
		for _, e := range got.entries {
			if e.Phase == PhaseCase && e.Result == Skip && e.Reason != "need luck: none" {
				t.Errorf("%s: reason %q", tt.param, e.Reason)
			}
		}
	}
}

// Code that misses its deadline is handled, whether it heeds its context or not.
func TestDeadline(t *testing.T) {
	const rebuilt = "set-up 1; one; tear-down 1; undo; set-up 2; two; tear-down 2; undo"
	for _, tt := range []struct {
		place, trace, results, entry string
		exit                         int
	}{
		{"one", rebuilt, "timeout pass", "one", 1},
		{"set-up 1", "set-up 1; undo", "error error", "set-up", 3},
		{
			"reset 1", "set-up 1; one; reset 1; tear-down 1; undo; set-up 2; two; tear-down 2; undo", "pass pass",
			"reset", 0,
		},
		{"tear-down 1", "set-up 1; one; reset 1; two; tear-down 1; undo", "pass pass", "tear-down", 3},
	} {
		for _, heed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s heeds %v", tt.place, heed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					release := make(chan struct{})
					var late error
					s := &script{do: do{tt.place: heeds}}
					if !heed {
						s.do[tt.place] = func(ctx context.Context, env *Env, _ *T) error {
							<-release
							late = env.Do(context.WithoutCancel(ctx), undo.Path{Path: "/x"}, func() error {
								return nil
							})
							return nil
						}
					}
					var evidence []string
					got := s.run(t.Context(), t, Options{
						TimeoutScale: 2,
						Evidence: func(_ context.Context, id ID, dir string) {
							evidence = append(evidence, id.String()+" "+filepath.Base(dir))
						},
					}, "")
					close(release)
					synctest.Wait()
					checkDeadline(t, s, got, tt.trace, tt.results, tt.entry, tt.exit, heed)
					if len(evidence) != 1 {
						t.Errorf("evidence was asked for %q", evidence)
					}
					if !heed && (!errors.Is(late, ErrAbandoned) || len(s.undo.done) != 0) {
						t.Errorf("abandoned code changed the host: %v, %q", late, s.undo.done)
					}
				})
			})
		}
	}
}

func checkDeadline(t *testing.T, s *script, got outcome, trace, results, entry string, exit int, heed bool) {
	t.Helper()
	if strings.Join(s.trace, "; ") != trace || got.results() != results || got.ExitCode() != exit {
		t.Errorf(
			"trace %q, results %s, exit code %d; want %s, %s, %d", s.trace, got.results(), got.ExitCode(), trace,
			results, exit,
		)
	}
	e := got.end(t, entry)
	for _, x := range got.entries { // those of the first build
		if x.Event == End && x.Reason != "" {
			e = x
			break
		}
	}
	want := 2 * time.Minute
	if !heed {
		want += 2 * defaultGrace
	}
	if e.Duration != want || e.Abandoned == heed || !strings.HasPrefix(e.Reason, "missed its deadline of 2 min") {
		t.Errorf("%s took %v, abandoned %v, reason %q; want %v", entry, e.Duration, e.Abandoned, e.Reason, want)
	}
	_, err := os.Stat(filepath.Join(got.dir, e.Dir, "goroutines.txt"))
	if (err == nil) == heed {
		t.Errorf("goroutines.txt: %v", err)
	}
}

// all returns all entries of a run, log lines included.
func all(t interface {
	Helper()
	Fatal(args ...any)
}, run *RunDir,
) (entries []Entry) {
	t.Helper()
	for e, err := range run.All() {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}
