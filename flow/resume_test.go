package flow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/internal/procfs"
)

const elsewhen = "00000000-0000-0000-0000-000000000000" // id of another boot

// cut writes a run directory with the first lines of another run's journal and a torn line. If
// otherBoot is set, the journal is from another boot.
func cut(t *testing.T, from string, journal []byte, otherBoot bool) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vmtb-test") // syncing is cheap there
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	info, err := os.ReadFile(filepath.Join(from, infoFile))
	if err != nil {
		t.Fatal(err)
	}
	boot, err := procfs.BootID()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{infoFile: info, journalFile: journal, lockFile: nil} {
		if otherBoot {
			data = bytes.ReplaceAll(data, []byte(boot), []byte(elsewhen))
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// resume resumes the run in dir with the flows of s.
func (s *script) resume(t *testing.T, dir string, o Options, params ...param) outcome {
	t.Helper()
	s.undo.s = s
	o.Dir = dir
	o.OpenUndo = func(string) (Undo, error) { return &s.undo, nil }
	sum, err := Resume(t.Context(), s.registry(params...).Items(), o)
	if err != nil {
		t.Fatal(err)
	}
	run, err := OpenRun(dir)
	if err != nil || run.Torn || run.Alive {
		t.Fatalf("afterwards: %+v, %v", run, err)
	}
	return outcome{sum, all(t, run), dir}
}

// final returns the results that count, one letter each, in the order of the plan.
func (o outcome) final(params ...param) string {
	var b strings.Builder
	for _, p := range params {
		for _, c := range []string{"one", "two"} {
			r := o.last[ID{"file", "Class", c, string(p)}].Result
			b.WriteString(
				map[Result]string{
					Pass: ".", Fail: "F", Incomplete: "i", NotRun: "n", Error: "E", Timeout: "T", DmesgFail: "D",
					DmesgWarn: "W", Skip: "s",
				}[r],
			)
		}
	}
	return b.String()
}

// A run may die at any entry, with vmtb or with the host. After a resume, cases with a result keep
// it and do not run again. Running cases are incomplete, the rest has run, and every id has one
// result.
func TestResumeAnywhere(t *testing.T) {
	params := []param{"a", "b"}
	s := &script{do: do{"one": func(ctx context.Context, _ *Env, t *T) error {
		return t.Step(ctx, "a step", func(context.Context) error { return nil })
	}}}
	whole := s.run(t.Context(), t, Options{}, params...)
	data, err := os.ReadFile(filepath.Join(whole.dir, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	lines = lines[:len(lines)-1]
	for n := range len(lines) + 1 {
		for _, otherBoot := range []bool{false, true} {
			journal := slices.Concat(lines[:n]...)
			if n < len(lines) {
				journal = append(journal, lines[n][:len(lines[n])/2]...)
			}
			s := &script{}
			before := whole.entries[:n]
			got := s.resume(t, cut(t, whole.dir, journal, otherBoot), Options{}, params...)
			want, ran := expect(before, otherBoot, params)
			if f := got.final(params...); f != want || got.Total != 4 || len(got.last) != 4 {
				t.Errorf("died after %d entries, other boot %v: results %s, want %s", n, otherBoot, f, want)
			}
			if k := strings.Count(strings.Join(s.trace, " "), "one") + strings.Count(
				strings.Join(s.trace, " "), "two",
			); k != ran {
				t.Errorf(
					"died after %d entries, other boot %v: %d cases ran, want %d: %q", n, otherBoot, k, ran, s.trace,
				)
			}
			if s.trace[0] != "undo" {
				t.Errorf("the host was not restored first: %q", s.trace)
			}
			closed(t, got.entries)
		}
	}
}

// expect returns the results of a run that died after these entries and was resumed, and the number
// of cases that the resume ran.
func expect(before []Entry, otherBoot bool, params []param) (results string, ran int) {
	inFlight, killed := ID{}, ID{}
	done := map[ID]bool{}
	for _, e := range before {
		switch {
		case e.Phase == PhaseCase && e.Event == Begin:
			inFlight = e.ID
		case e.Phase == PhaseCase && e.Event == End:
			inFlight, done[e.ID] = ID{}, true
		case e.Phase == PhaseRun, e.Phase == PhaseStep:
		case e.Event == Begin:
			killed = e.ID
		case e.Event == End:
			killed = ID{}
		}
	}
	for _, p := range params {
		for _, c := range []string{"one", "two"} {
			switch id := (ID{"file", "Class", c, string(p)}); {
			case done[id]:
				results += "."
			case id == inFlight, otherBoot && id.Fixture() == killed:
				results += "i"
			default:
				results += "."
				ran++
			}
		}
	}
	return results, ran
}

// closed checks that every phase that began has ended before the last line of the journal.
func closed(t *testing.T, entries []Entry) {
	t.Helper()
	open := map[string]int{}
	for i, e := range entries {
		if e.Seq != i+1 {
			t.Fatalf("entry %d has the number %d", i+1, e.Seq)
		}
		if e.Phase == PhaseRun {
			continue
		}
		key := fmt.Sprint(e.Phase, e.ID, e.Name)
		switch e.Event {
		case Begin:
			open[key]++
		case End:
			open[key] = max(0, open[key]-1) // a case that does not run has no begin
		}
	}
	for key, n := range open {
		if n != 0 {
			t.Errorf("%s has no end", key)
		}
	}
}

// After Ctrl-C the interrupted case stays incomplete, unless RerunIncomplete is set.
func TestResumeInterrupted(t *testing.T) {
	for _, again := range []bool{false, true} {
		ctx, interrupt := context.WithCancel(t.Context())
		s := &script{
			do: do{"one": func(ctx context.Context, _ *Env, _ *T) error { interrupt(); <-ctx.Done(); return nil }},
		}
		first := s.run(ctx, t, Options{}, "a", "b")
		if f := first.final("a", "b"); f != "innn" || first.ExitCode() != ExitInterrupted {
			t.Errorf("interrupted: %s, exit code %d", f, first.ExitCode())
		}
		s = &script{}
		got := s.resume(t, first.dir, Options{RerunIncomplete: again}, "a", "b")
		want, code := "i...", ExitError
		if again {
			want, code = "....", ExitPass
		}
		if f := got.final("a", "b"); f != want || got.ExitCode() != code || got.Stopped != "" {
			t.Errorf("resumed: %s, exit code %d, stopped %q; want %s, %d", f, got.ExitCode(), got.Stopped, want, code)
		}
		if again {
			e := got.last[ID{"file", "Class", "one", "a"}]
			if _, err := os.Stat(filepath.Join(got.dir, e.Dir)); e.Attempt != 2 || e.Dir != "01-file-Class-a/one.2" ||
				err != nil {
				t.Errorf("the second attempt: %+v, %v", e, err)
			}
		}
		once := s.resume(t, first.dir, Options{}, "a", "b") // all cases have run
		if f := once.final("a", "b"); f != want || once.ExitCode() != code {
			t.Errorf("resumed twice: %s, exit code %d", f, once.ExitCode())
		}
	}
}

// If the host was rebooted, a case that asked for it is entered at its mark, in its folder, on a
// new fixture.
func TestReboot(t *testing.T) {
	for _, tt := range []struct {
		name      string
		otherBoot bool
		cutAt     func([]Entry) int // number of journal entries before the reboot
		want      string
	}{
		{
			"host gone at once", true,
			func(es []Entry) int { return slices.IndexFunc(es, func(e Entry) bool { return e.Event == Mark }) + 1 },
			"....",
		},
		{"vmtb ended in order", true, func(es []Entry) int { return len(es) }, "...."},
		{"host gone in the tear-down", true, func(es []Entry) int {
			return slices.IndexFunc(es, func(e Entry) bool { return e.Phase == PhaseTearDown }) + 1
		}, "...."},
		{"not rebooted", false, func(es []Entry) int { return len(es) }, "i..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, down := context.WithCancel(t.Context())
			var marks []string
			flows := do{"one": func(ctx context.Context, _ *Env, t *T) error {
				if t.ID().Param != "a" {
					return nil
				}
				marks = append(marks, t.Mark()+" "+filepath.Base(t.Dir()))
				if t.Mark() == "" {
					t.Reboot(ctx, "rebooted")
				}
				return nil
			}}
			first := (&script{do: flows}).run(
				ctx, t, Options{Reboot: func(context.Context) error { down(); return nil }}, "a", "b",
			)
			data, err := os.ReadFile(filepath.Join(first.dir, journalFile))
			if err != nil {
				t.Fatal(err)
			}
			journal := slices.Concat(bytes.SplitAfter(data, []byte("\n"))[:tt.cutAt(first.entries)]...)
			dir := cut(t, first.dir, journal, tt.otherBoot)
			got := (&script{do: flows}).resume(t, dir, Options{}, "a", "b")
			if f := got.final("a", "b"); f != tt.want {
				t.Errorf("results %s, want %s", f, tt.want)
			}
			want := []string{" one", "rebooted one"}
			if !tt.otherBoot {
				want = want[:1]
			}
			if !slices.Equal(marks, want) {
				t.Errorf("entered at %q, want %q", marks, want)
			}
			closed(t, got.entries)
		})
	}
}

// If the reboot fails, or the run cannot reboot the host, the case fails.
func TestRebootFails(t *testing.T) {
	for _, tt := range []struct {
		reboot func(context.Context) error
		reason string
	}{
		{func(context.Context) error { return errBoom }, "reboot the host: boom"},
		{nil, "BUG: Reboot without a mark, or in a run that cannot reboot the host"},
	} {
		s := &script{do: do{"one": func(ctx context.Context, _ *Env, t *T) error { t.Reboot(ctx, "x"); return nil }}}
		got := s.run(t.Context(), t, Options{Reboot: tt.reboot}, "")
		if e := got.end(t, "one"); e.Result != Fail || e.Reason != tt.reason {
			t.Errorf("%s: %s", e.Result, e.Reason)
		}
	}
}

func TestResumeRefuses(t *testing.T) {
	s := &script{}
	var alive error
	first := &script{do: do{"one": func(_ context.Context, env *Env, _ *T) error {
		_, alive = Resume(t.Context(), s.registry("a").Items(), Options{Dir: filepath.Dir(filepath.Dir(env.Dir))})
		return nil
	}}}
	dir := first.run(t.Context(), t, Options{}, "a").dir
	try := func(what string, err error, want string) {
		t.Helper()
		var usage *bench.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a usage error with %q", what, err, want)
		}
	}
	resume := func(dir string, params ...param) error {
		_, err := Resume(t.Context(), s.registry(params...).Items(), Options{Dir: dir})
		return err
	}
	try("an alive one", alive, "that run is alive")
	try("no directory", resume(filepath.Join(dir, "x"), "a"), "not a run directory")
	try(
		"other flows", resume(dir, "b"),
		"does not have these flows of the run: file::Class::one[a], file::Class::two[a]",
	)
	if err := os.WriteFile(filepath.Join(dir, journalFile), []byte("{}\n{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	try("damaged", resume(dir, "a"), "line 1")
	if len(s.trace) > 0 {
		t.Errorf("something ran: %q", s.trace)
	}
}

// If the host cannot be restored at the resume, the run does not continue.
func TestResumeUnrestored(t *testing.T) {
	s := &script{}
	dir := s.run(t.Context(), t, Options{}, "a").dir
	data, err := os.ReadFile(filepath.Join(dir, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	s = &script{undo: fakeUndo{err: errBoom}}
	got := s.resume(t, cut(t, dir, slices.Concat(bytes.SplitAfter(data, []byte("\n"))[:1]...), false), Options{}, "a")
	if f := got.final("a"); f != "nn" || got.ExitCode() != ExitNotRestored || strings.Join(s.trace, " ") != "undo" {
		t.Errorf("results %s, exit code %d, trace %q", f, got.ExitCode(), s.trace)
	}
	s = &script{}
	if got := s.resume(t, got.dir, Options{}, "a"); got.final("a") != ".." || got.ExitCode() != ExitPass {
		t.Errorf("resumed once more: %s, exit code %d", got.final("a"), got.ExitCode())
	}
}
