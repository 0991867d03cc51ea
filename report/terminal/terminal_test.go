package terminal

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/report"
	"vmtb/report/reporttest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func play(tape *reporttest.Tape, o Options) string {
	var b strings.Builder
	r := New(&b, o)
	tape.Play(r)
	if err := r.Close(); err != nil {
		return err.Error()
	}
	return b.String()
}

// The duration beside a step is that of the step. A failed case shows the folder of its fixture,
// which has the files of its machines.
func TestStepsAndFolders(t *testing.T) {
	id := reporttest.Boot("1VF")
	r := reporttest.NewTape(id)
	r.Entry(flow.Entry{Event: flow.Begin, Phase: flow.PhaseSetUp, ID: id.Fixture(), Dir: "01-x/fixture-1"})
	r.Step("boot 2 VMs", id.Fixture(), 300, flow.Entry{})
	r.Entry(flow.Entry{Event: flow.Begin, Phase: flow.PhaseStep, ID: id.Fixture(), Name: "load xe in guests"})
	r.Ticks(31)
	r.End(flow.Entry{Phase: flow.PhaseStep, ID: id.Fixture(), Name: "load xe in guests"}, 0)
	r.End(flow.Entry{Phase: flow.PhaseSetUp, ID: id.Fixture(), Dir: "01-x/fixture-1"}, 0)
	r.Phase(
		flow.Entry{Phase: flow.PhaseCase, ID: id, Dir: "01-x/test_vm_boot", Result: flow.Fail, Reason: "no"},
		time.Second,
	)
	r.Finish(flow.Entry{})
	got := play(r, Options{})
	for _, want := range []string{
		"still setting up TestVmSetup[1VF]: boot 2 VMs, 30 s", "boot 2 VMs, 4 min 30 s", "load xe in guests, 30 s",
		"files: " + r.Info.Dir + "/01-x/test_vm_boot\n       " + r.Info.Dir + "/01-x/fixture-1 (fixture",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the report:\n%s", want, got)
		}
	}
}

func TestTerminal(t *testing.T) {
	columns := func(n int) func() int { return func() int { return n } }
	for _, tt := range []struct {
		golden string
		Tape   *reporttest.Tape
		o      Options
	}{
		{"pass", reporttest.Passes(), Options{Width: columns(120)}},
		{"pass-v", reporttest.Passes(), Options{Verbose: 1, Width: columns(120)}},
		{"pass-vv", reporttest.Passes(), Options{Verbose: 2}},
		{"pass-live", reporttest.Passes(), Options{Verbose: 1, Live: true, Color: true, Width: columns(60)}},
		{"failures", reporttest.Failures(), Options{}},
		{"failures-color", reporttest.Failures(), Options{Color: true}},
		{"failures-quiet", reporttest.Failures(), Options{Verbose: -1, Slowest: 3}},
		{"pass-warnings", reporttest.Passes(), Options{Verbose: 2, LogFrom: slog.LevelWarn, Slowest: -1}},
		{"killed", reporttest.Killed(), Options{}},
		{"interrupted", reporttest.Interrupted(), Options{Verbose: 1}},
		{"empty", reporttest.NewTape(), Options{}},
	} {
		t.Run(tt.golden, func(t *testing.T) {
			got := play(tt.Tape, tt.o)
			if tt.o.Live { // the file has a line for each time the status is drawn
				got = strings.NewReplacer("\r", "\n<CR>", "\x1b", "<ESC>").Replace(got)
			}
			got = strings.ReplaceAll(got, "\x1b", "<ESC>")
			path := filepath.Join("testdata", tt.golden+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// The output during a run, without heartbeats, equals the output from its directory.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := flow.NewRegistry()
		flow.Add(r, "test_basic", flow.Class[flow.NoParam, int]{
			Name: "TestX", Params: []flow.NoParam{{}},
			Fixture: flow.Fixture[flow.NoParam, int]{
				SetUp: func(ctx context.Context, env *flow.Env, _ flow.NoParam) (int, error) {
					return 0, env.Step(ctx, "wait", func(context.Context) error {
						time.Sleep(5 * time.Second)
						return nil
					})
				},
				TearDown: func(context.Context, *flow.Env, int) error { return errors.New("no") },
			},
			Cases: []flow.Case[int]{
				{Name: "test_a", Func: func(_ context.Context, t *flow.T, _ int) {
					t.Logf("bad \xff byte")
					t.Error(&bench.HostError{Op: "write", Noun: "/sys/x"})
				}},
				{Name: "test_b", Func: func(_ context.Context, t *flow.T, _ int) { t.Skipf("no GPU") }},
				{Name: "test_c", Func: func(_ context.Context, t *flow.T, _ int) { panic("on \x1b purpose") }},
			},
		})
		var live, later strings.Builder
		term := New(&live, Options{Verbose: 2})
		ctx, stop := context.WithCancel(t.Context())
		go term.Follow(ctx)
		dir := filepath.Join(t.TempDir(), "run")
		if _, err := flow.Run(
			t.Context(), r.Items(), flow.Options{Dir: dir, Started: term.Start, Observer: term.Entry},
		); err != nil {
			t.Fatal(err)
		}
		stop()
		synctest.Wait()
		if err := term.Close(); err != nil {
			t.Fatal(err)
		}
		run, err := flow.OpenRun(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := report.Replay(New(&later, Options{Verbose: 2}), run); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(later.String(), live.String()); diff != "" {
			t.Errorf("(-later +live)\n%s", diff)
		}
		for _, want := range []string{
			"test_basic::TestX::test_a FAILED", "SKIPPED (no GPU)", "2 failed, 1 skipped, 1 tear-down error in 5 s",
			`on \x1b purpose`,
		} {
			if !strings.Contains(live.String(), want) {
				t.Errorf("%q is not in\n%s", want, live.String())
			}
		}
	})
}

// A file is not a terminal: there are no status line and no colours, and the width is the default.
func TestFor(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := Options{Verbose: 1}.For(f)
	if o.Live || o.Color || o.Verbose != 1 || o.Width() != 0 || New(f, o).width() != 80 {
		t.Errorf("%+v", o)
	}
}

type fullWriter struct{ n int }

func (w *fullWriter) Write(p []byte) (int, error) {
	if w.n++; w.n > 2 {
		return 0, errors.New("full")
	}
	return len(p), nil
}

func TestWriteError(t *testing.T) {
	w := &fullWriter{}
	r := New(w, Options{})
	tp := reporttest.Passes()
	tp.Play(r)
	if err := r.Close(); err == nil || err.Error() != "full" || w.n != 3 {
		t.Errorf("error %v after %d writes", err, w.n)
	}
}

// Text of a guest or a kernel never reaches the terminal as a command, and never adds lines.
func FuzzTerminal(f *testing.F) {
	f.Add("plain", "reason", "\x1b[31m")
	f.Add("a\rb", "\x9b1m\u202e", "\xff\x00\n\n")
	f.Fuzz(func(t *testing.T, name, reason, msg string) {
		id := flow.ID{File: name, Class: reason, Case: msg, Param: name}
		tp := reporttest.NewTape(id)
		tp.Info.DUT, tp.Info.Dir, tp.Info.Notes = name, "/"+reason, []string{msg}
		tp.Begin(flow.PhaseCase, id)
		tp.Step(name, id, 1, flow.Entry{Result: flow.Error, Reason: reason})
		tp.Log("INFO", msg, id)
		tp.Phase(
			flow.Entry{Phase: flow.PhaseCase, ID: id, Result: flow.Fail, Reason: reason, Stack: msg, Where: name},
			time.Second,
		)
		tp.Phase(flow.Entry{Phase: flow.PhaseTearDown, ID: id, Result: flow.Error, Reason: msg}, 0)
		tp.Phase(flow.Entry{Phase: flow.PhaseCase, ID: id, Result: flow.Skip, Reason: msg}, 0)
		for _, r := range play(tp, Options{Verbose: 2}) {
			if r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u202e') {
				t.Fatalf("%U is printed", r)
			}
		}
	})
}

// The report of a merged run shows the DUT of each case, and the missing DUTs.
func TestMerged(t *testing.T) {
	run := reporttest.MergedRun(t)
	var b strings.Builder
	if err := report.Replay(New(&b, Options{}), run); err != nil {
		t.Fatal(err)
	}
	reporttest.Golden(t, *update, "merged.txt", b.String(), run)
}
