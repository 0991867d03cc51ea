package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/undo"
)

func TestResources(t *testing.T) {
	res := &Resources{}
	Provide(res, 1)
	Provide(res, 2)
	Provide[io.Writer](res, os.Stdout)
	env := &Env{resources: res}
	if n, err := Resource[int](env); n != 2 || err != nil {
		t.Errorf("int: %v, %v", n, err)
	}
	if w, err := Resource[io.Writer](env); w != os.Stdout || err != nil {
		t.Errorf("io.Writer: %v, %v", w, err)
	}
	for _, err := range []error{second(Resource[*os.File](env)), second(Resource[*os.File](&Env{}))} {
		if err == nil || err.Error() != "BUG: no resource of type *os.File" {
			t.Errorf("*os.File: %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Env.Do changes the host only in a phase of a fixture that still exists.
func TestDo(t *testing.T) {
	change := undo.Path{Path: "/x"}
	var old *Env
	var oldCtx context.Context
	nothing := func() error { return nil }
	s := &script{}
	s.do = do{
		"set-up 1": func(ctx context.Context, env *Env, _ *T) error {
			old, oldCtx = env, context.WithoutCancel(ctx)
			return env.Do(ctx, change, nothing)
		},
		"one": func(ctx context.Context, env *Env, t *T) error {
			t.Error(errors.Join(env.Do(ctx, change, nothing), old.Do(oldCtx, change, nothing)))
			return env.Do(ctx, change, func() error { return errBoom })
		},
		"tear-down 1": func(ctx context.Context, env *Env, _ *T) error {
			if err := env.Do(context.Background(), change, nothing); err == nil ||
				!strings.HasPrefix(err.Error(), "BUG:") {
				return fmt.Errorf("a context from nowhere: %w", err)
			}
			return env.Do(ctx, change, nothing)
		},
	}
	got := s.run(t.Context(), t, Options{}, "")
	if e := got.end(t, "one"); e.Reason != "<nil>\nboom" {
		t.Errorf("in the case: %s", e.Reason)
	}
	if e := got.end(t, "tear-down"); e.Reason != "" {
		t.Error(e.Reason)
	}
	if len(s.undo.done) != 5 {
		t.Errorf("%d changes journalled, want 5", len(s.undo.done))
	}
	if err := old.Do(oldCtx, change, nothing); !errors.Is(err, ErrAbandoned) {
		t.Errorf("after the tear-down: %v", err)
	}
}

// All clean-ups run after TearDown, the newest first, even if one fails.
func TestCleanup(t *testing.T) {
	for _, fail := range []string{"", "set-up 1", "tear-down 1"} {
		t.Run(fail, func(t *testing.T) {
			s := &script{}
			s.do = do{"set-up 1": func(_ context.Context, env *Env, _ *T) error {
				env.Cleanup(func(context.Context) error { s.note("first"); return nil })
				env.Cleanup(func(context.Context) error { s.note("second"); panic("on purpose") })
				env.Cleanup(func(context.Context) error {
					s.note("third")
					env.Cleanup(func(context.Context) error { s.note("late"); return errBoom })
					return nil
				})
				if fail == "set-up 1" {
					return errors.New("no")
				}
				return nil
			}}
			want := "set-up 1; one; reset 1; two; tear-down 1; third; late; second; first; undo"
			switch fail {
			case "set-up 1":
				want = "set-up 1; third; late; second; first; undo"
			case "tear-down 1":
				s.do[fail] = panics
			}
			got := s.run(t.Context(), t, Options{}, "")
			if strings.Join(s.trace, "; ") != want {
				t.Errorf("trace %q, want %s", s.trace, want)
			}
			if e := got.end(t, "tear-down"); !strings.HasSuffix(e.Reason, "boom\npanic: on purpose") ||
				got.ExitCode() != ExitError {
				t.Errorf("reason %q, exit code %d", e.Reason, got.ExitCode())
			}
		})
	}
}

// Log lines and steps of flows are in the journal, in order.
func TestLogAndSteps(t *testing.T) {
	var text strings.Builder
	log := slog.New(
		slog.NewTextHandler(
			&text, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}},
		),
	)
	s := &script{}
	s.do = do{
		"set-up 1": func(ctx context.Context, env *Env, _ *T) error {
			env.Log.With("vm", "vm0").WithGroup("g").Info("booting", "try", 1)
			env.Log.Debug("only in the journal")
			return env.Step(ctx, "boot vm0", func(context.Context) error { return nil })
		},
		"one": func(ctx context.Context, _ *Env, t *T) error {
			t.Logf("%d of %d", 1, 2)
			return t.Step(ctx, "load xe", func(context.Context) error {
				return &bench.GuestError{Machine: "vm0", Op: "load xe", Err: errBoom}
			})
		},
		"two": func(ctx context.Context, _ *Env, t *T) error {
			return t.Step(ctx, "lost", func(context.Context) error { t.Fatal("no"); return nil })
		},
	}
	got := s.run(t.Context(), t, Options{Log: log}, "")
	var lines []string
	for _, e := range got.entries {
		if e.Event == Log || e.Phase == PhaseStep {
			lines = append(
				lines,
				strings.TrimSpace(fmt.Sprintln(e.ID, e.Event, e.Level, e.Name, e.Message, e.Result, e.Reason, e.Blame)),
			)
		}
	}
	want := []string{
		"file::Class log INFO  booting vm=vm0 g.try=1",
		"file::Class log DEBUG  only in the journal",
		"file::Class begin  boot vm0",
		"file::Class end  boot vm0",
		"file::Class::one log INFO  1 of 2",
		"file::Class::one begin  load xe",
		"file::Class::one end  load xe  error vm0: load xe: boom guest",
		"file::Class::two begin  lost",
		"file::Class::two end  lost  incomplete",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if want := "level=INFO msg=booting vm=vm0 g.try=1\n"; text.String() != want {
		t.Errorf("logged %q, want %q", text.String(), want)
	}
}

// An error that a case reports after its end does not change the result, but it is logged.
func TestAfterEnd(t *testing.T) {
	var kept *T
	s := &script{do: do{
		"one":         func(_ context.Context, _ *Env, t *T) error { kept = t; return nil },
		"tear-down 1": func(context.Context, *Env, *T) error { kept.Errorf("too late"); return nil },
	}}
	got := s.run(t.Context(), t, Options{}, "")
	if got.results() != "pass pass" ||
		!slices.ContainsFunc(got.entries, func(e Entry) bool {
			return e.Message == "after the end of the case: too late"
		}) {
		t.Errorf("results %s, entries %v", got.results(), got.entries)
	}
}

// Fixtures and cases have folders of their own. A fixture that is built again gets a new one.
func TestFolders(t *testing.T) {
	s := &script{}
	write := func(_ context.Context, env *Env, t *T) error {
		dir := env.Dir
		if t != nil {
			dir = t.Dir()
		}
		return os.WriteFile(filepath.Join(dir, "here"), nil, 0o600)
	}
	s.do = do{
		"set-up 1VF-(P:a/b S:../c)1": write, "reset 1": fails(errBoom), "set-up 1VF-(P:a/b S:../c)2": write,
		"set-up 1VF-(P:a b S:.. c)3": write, "one": write, "two": write,
	}
	got := s.run(t.Context(), t, Options{}, "1VF-(P:a/b S:../c)", "1VF-(P:a b S:.. c)")
	var found []string
	err := filepath.WalkDir(got.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "here" {
			found = append(found, relative(got.dir, filepath.Dir(path)))
		}
		return err
	})
	want := []string{
		"01-file-Class-1VF-P-a-b-S-..-c/fixture-1", "01-file-Class-1VF-P-a-b-S-..-c/fixture-2",
		"01-file-Class-1VF-P-a-b-S-..-c/one", "01-file-Class-1VF-P-a-b-S-..-c/two",
		"02-file-Class-1VF-P-a-b-S-..-c/fixture-1", "02-file-Class-1VF-P-a-b-S-..-c/one",
		"02-file-Class-1VF-P-a-b-S-..-c/two",
	}
	if diff := cmp.Diff(want, found); diff != "" || err != nil {
		t.Errorf("error %v (-want +got)\n%s", err, diff)
	}
	if got.results() != "pass pass pass pass" {
		t.Error(got.results())
	}
}

func TestScaled(t *testing.T) {
	if got := (&Env{scale: 2.5}).Scaled(2 * time.Second); got != 5*time.Second {
		t.Error(got)
	}
}
