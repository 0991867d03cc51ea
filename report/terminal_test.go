package report

import (
	"context"
	"errors"
	"flag"
	"fmt"
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
)

var update = flag.Bool("update", false, "write the golden files")

// A tape is a run made by hand: entries and ticks at exact times.
type tape struct {
	info   flow.Info
	at     time.Time
	events []func(*Terminal)
	n      int

	entries []flow.Entry // all of events but the ticks
}

const profile = "(P:VGPU_PROFILE S:DEFAULT_PROFILE)"

func boot(param string) flow.ID {
	return flow.ID{File: "test_basic", Class: "TestVmSetup", Case: "test_vm_boot", Param: param}
}

func newTape(ids ...flow.ID) *tape {
	t := &tape{at: time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)}
	t.info = flow.Info{
		Format: flow.Format, Version: "0.1", DUT: "lab: igb, Linux 6.1.0-44, stand-in xe", Dir: "/tmp/run-1", Start: t.at, TimeoutScale: 1,
		Notes: []string{"[1VF] took 1: " + boot("1VF-"+profile).String()},
	}
	for _, id := range ids {
		t.info.Plan = append(t.info.Plan, flow.Item{ID: id, Name: id.String()})
	}
	t.begin(flow.PhaseRun, flow.ID{})
	return t
}

func (t *tape) entry(e flow.Entry) {
	t.n++
	e.Seq, e.Time = t.n, t.at
	t.entries = append(t.entries, e)
	t.events = append(t.events, func(r *Terminal) { r.Entry(e) })
}

func (t *tape) begin(p flow.Phase, id flow.ID) {
	t.entry(flow.Entry{Event: flow.Begin, Phase: p, ID: id})
}

func (t *tape) end(e flow.Entry, after time.Duration) {
	t.at = t.at.Add(after)
	e.Event, e.Duration = flow.End, after
	t.entry(e)
}

// finish ends the run.
func (t *tape) finish(e flow.Entry) {
	e.Event, e.Phase, e.Duration = flow.End, flow.PhaseRun, t.at.Sub(t.info.Start)
	t.entry(e)
}

// phase begins and ends after ticks that come each second.
func (t *tape) phase(e flow.Entry, d time.Duration) {
	t.begin(e.Phase, e.ID)
	t.ticks(int(d / time.Second))
	e.Event, e.Duration = flow.End, d
	t.entry(e)
}

func (t *tape) step(name string, id flow.ID, seconds int, e flow.Entry) {
	t.entry(flow.Entry{Event: flow.Begin, Phase: flow.PhaseStep, ID: id, Name: name})
	t.ticks(seconds)
	e.Event, e.Phase, e.ID, e.Name, e.Duration = flow.End, flow.PhaseStep, id, name, time.Duration(seconds)*time.Second
	t.entry(e)
}

func (t *tape) ticks(n int) {
	for range n {
		t.at = t.at.Add(time.Second)
		at := t.at
		t.events = append(t.events, func(r *Terminal) { r.Tick(at) })
	}
}

func (t *tape) log(level, msg string, id flow.ID) {
	t.entry(flow.Entry{Event: flow.Log, ID: id, Level: level, Message: msg})
}

func (t *tape) play(o TerminalOptions) string {
	var b strings.Builder
	r := NewTerminal(&b, o)
	r.Start(t.info)
	for _, do := range t.events {
		do(r)
	}
	if err := r.Close(); err != nil {
		return err.Error()
	}
	return b.String()
}

func passes() *tape {
	one, two := boot("1VF-"+profile), boot("2VF-"+profile)
	t := newTape(one, two)
	for _, id := range []flow.ID{one, two} {
		fx := id.Fixture()
		t.begin(flow.PhaseSetUp, fx)
		t.step("enable VFs", fx, 0, flow.Entry{})
		t.step("boot vm0", fx, 35, flow.Entry{})
		t.log("INFO", "vm0 is ready", fx)
		t.end(flow.Entry{Phase: flow.PhaseSetUp, ID: fx}, 50*time.Millisecond)
		t.phase(flow.Entry{Phase: flow.PhaseCase, ID: id, Dir: "01-x/test_vm_boot", Result: flow.Pass}, 3*time.Second)
		t.phase(flow.Entry{Phase: flow.PhaseTearDown, ID: fx}, 2*time.Second)
		t.phase(flow.Entry{Phase: flow.PhaseRestore, ID: fx}, 0)
	}
	t.finish(flow.Entry{})
	return t
}

func failures() *tape {
	ids := []flow.ID{boot("1VF"), boot("2VF"), boot("3VF"), boot("4VF"), boot("5VF"), boot("6VF"), boot("7VF"), {File: "test_migration", Case: "test_2vm_pause_resume"}}
	t := newTape(ids...)
	t.info.TimeoutScale, t.info.Notes = 5, nil
	c := func(i int, e flow.Entry, d time.Duration) {
		e.Phase, e.ID, e.Dir = flow.PhaseCase, ids[i], fmt.Sprintf("%02d-x/test_vm_boot", i+1)
		t.phase(e, d)
	}
	c(0, flow.Entry{Result: flow.Pass}, time.Second)
	t.begin(flow.PhaseCase, ids[1])
	t.log("INFO", "modprobe xe\n\x1b[31mred\x1b[0m\a\tbytes \xff", ids[1].Fixture())
	t.step("load xe", ids[1], 12, flow.Entry{Result: flow.Error, Reason: "exit code 1"})
	t.end(flow.Entry{
		Phase: flow.PhaseCase, ID: ids[1], Dir: "02-x/test_vm_boot", Result: flow.Fail, Blame: flow.BlameGuest, Where: "basic/setup.go:41",
		Reason: "vm0: load xe: modprobe xe: exit code 1: \x1b]0;title\amodprobe: ERROR\nsecond line\n",
	}, 34*time.Millisecond)
	setUp := flow.Entry{Result: flow.Error, Reason: "set-up failed: start QEMU: not found (install it)", Blame: flow.BlameInfra}
	t.phase(flow.Entry{Phase: flow.PhaseSetUp, ID: ids[2].Fixture(), Result: flow.Error, Reason: "start QEMU: not found (install it)"}, time.Second)
	c(2, setUp, 0)
	c(3, flow.Entry{Result: flow.Skip, Reason: "need SR-IOV: the PF has no VFs\nat all"}, 0)
	c(4, flow.Entry{Result: flow.Timeout, Reason: "missed its deadline of 1 min and did not come back; abandoned", Abandoned: true}, 61*time.Second)
	c(5, flow.Entry{Result: flow.Fail, Reason: "panic: index out of range", Stack: "goroutine 1 [running]:\nmain.x()\n\t/a/b.go:12 +0x1\n", Where: "basic/setup.go:50"}, time.Second)
	t.phase(flow.Entry{Phase: flow.PhaseTearDown, ID: ids[5].Fixture(), Dir: "06-x/fixture-1", Result: flow.Error, Reason: "vm0: power off: no answer"}, 4*time.Second)
	t.phase(flow.Entry{Phase: flow.PhaseRestore, ID: ids[5].Fixture(), Result: flow.Error, Reason: "undo sriov_numvfs: EBUSY"}, 0)
	for _, id := range ids[6:] {
		t.end(flow.Entry{Phase: flow.PhaseCase, ID: id, Result: flow.NotRun, Reason: "the host is not as it was: undo sriov_numvfs: EBUSY"}, 0)
	}
	t.finish(flow.Entry{Result: flow.Error, Reason: "the host is not as it was: undo sriov_numvfs: EBUSY"})
	return t
}

func killed() *tape {
	t := newTape(boot("1VF"), boot("2VF"), boot("3VF"))
	t.phase(flow.Entry{Phase: flow.PhaseCase, ID: boot("1VF"), Result: flow.Pass}, time.Second)
	t.begin(flow.PhaseCase, boot("2VF"))
	t.ticks(3)
	return t
}

func interrupted() *tape {
	t := newTape(boot("1VF"), boot("2VF"))
	t.phase(flow.Entry{Phase: flow.PhaseCase, ID: boot("1VF"), Result: flow.Incomplete, Reason: "interrupted"}, time.Second)
	t.end(flow.Entry{Phase: flow.PhaseCase, ID: boot("2VF"), Result: flow.NotRun, Reason: "interrupted"}, 0)
	t.finish(flow.Entry{Result: flow.Incomplete, Reason: "interrupted"})
	return t
}

// The time beside a step is the step's, and a failed case names the folder of its fixture, where its machines' files are.
func TestStepsAndFolders(t *testing.T) {
	id := boot("1VF")
	r := newTape(id)
	r.entry(flow.Entry{Event: flow.Begin, Phase: flow.PhaseSetUp, ID: id.Fixture(), Dir: "01-x/fixture-1"})
	r.step("boot 2 VMs", id.Fixture(), 300, flow.Entry{})
	r.entry(flow.Entry{Event: flow.Begin, Phase: flow.PhaseStep, ID: id.Fixture(), Name: "load xe in guests"})
	r.ticks(31)
	r.end(flow.Entry{Phase: flow.PhaseStep, ID: id.Fixture(), Name: "load xe in guests"}, 0)
	r.end(flow.Entry{Phase: flow.PhaseSetUp, ID: id.Fixture(), Dir: "01-x/fixture-1"}, 0)
	r.phase(flow.Entry{Phase: flow.PhaseCase, ID: id, Dir: "01-x/test_vm_boot", Result: flow.Fail, Reason: "no"}, time.Second)
	r.finish(flow.Entry{})
	got := r.play(TerminalOptions{})
	for _, want := range []string{
		"still setting up TestVmSetup[1VF]: boot 2 VMs, 30 s", "boot 2 VMs, 4 min 30 s", "load xe in guests, 30 s",
		"files: " + r.info.Dir + "/01-x/test_vm_boot\n       " + r.info.Dir + "/01-x/fixture-1 (the fixture's",
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
		tape   *tape
		o      TerminalOptions
	}{
		{"pass", passes(), TerminalOptions{Width: columns(120)}},
		{"pass-v", passes(), TerminalOptions{Verbose: 1, Width: columns(120)}},
		{"pass-vv", passes(), TerminalOptions{Verbose: 2}},
		{"pass-live", passes(), TerminalOptions{Verbose: 1, Live: true, Color: true, Width: columns(60)}},
		{"failures", failures(), TerminalOptions{}},
		{"failures-color", failures(), TerminalOptions{Color: true}},
		{"failures-quiet", failures(), TerminalOptions{Verbose: -1, Slowest: 3}},
		{"pass-warnings", passes(), TerminalOptions{Verbose: 2, LogFrom: slog.LevelWarn, Slowest: -1}},
		{"killed", killed(), TerminalOptions{}},
		{"interrupted", interrupted(), TerminalOptions{Verbose: 1}},
		{"empty", newTape(), TerminalOptions{}},
	} {
		t.Run(tt.golden, func(t *testing.T) {
			got := tt.tape.play(tt.o)
			if tt.o.Live { // one line of the file for each time that the status is drawn
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

// What is printed while a run goes on, up to the heartbeats, is what is printed from its directory.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := flow.NewRegistry()
		flow.Add(r, "test_basic", flow.Class[flow.NoParam, int]{
			Name: "TestX", Params: []flow.NoParam{{}},
			Fixture: flow.Fixture[flow.NoParam, int]{
				SetUp: func(ctx context.Context, env *flow.Env, _ flow.NoParam) (int, error) {
					return 0, env.Step(ctx, "wait", func(context.Context) error { time.Sleep(5 * time.Second); return nil })
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
		term := NewTerminal(&live, TerminalOptions{Verbose: 2})
		ctx, stop := context.WithCancel(t.Context())
		go term.Follow(ctx)
		dir := filepath.Join(t.TempDir(), "run")
		if _, err := flow.Run(t.Context(), r.Items(), flow.Options{Dir: dir, Started: term.Start, Observer: term.Entry}); err != nil {
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
		if err := Replay(NewTerminal(&later, TerminalOptions{Verbose: 2}), run); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(later.String(), live.String()); diff != "" {
			t.Errorf("(-later +live)\n%s", diff)
		}
		for _, want := range []string{"test_basic::TestX::test_a FAILED", "SKIPPED (no GPU)", "2 failed, 1 skipped, 1 tear-down error in 5 s", `on \x1b purpose`} {
			if !strings.Contains(live.String(), want) {
				t.Errorf("%q is not in\n%s", want, live.String())
			}
		}
	})
}

// A file is no terminal: no status line, no colours, and a width that is made up.
func TestFor(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := TerminalOptions{Verbose: 1}.For(f)
	if o.Live || o.Color || o.Verbose != 1 || o.Width() != 0 || NewTerminal(f, o).width() != 80 {
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
	r := NewTerminal(w, TerminalOptions{})
	tp := passes()
	r.Start(tp.info)
	for _, do := range tp.events {
		do(r)
	}
	if err := r.Close(); err == nil || err.Error() != "full" || w.n != 3 {
		t.Errorf("error %v after %d writes", err, w.n)
	}
}

// Nothing that a guest or a kernel wrote reaches the terminal as a command, and lines stay lines.
func FuzzTerminal(f *testing.F) {
	f.Add("plain", "reason", "\x1b[31m")
	f.Add("a\rb", "\x9b1m\u202e", "\xff\x00\n\n")
	f.Fuzz(func(t *testing.T, name, reason, msg string) {
		id := flow.ID{File: name, Class: reason, Case: msg, Param: name}
		tp := newTape(id)
		tp.info.DUT, tp.info.Dir, tp.info.Notes = name, "/"+reason, []string{msg}
		tp.begin(flow.PhaseCase, id)
		tp.step(name, id, 1, flow.Entry{Result: flow.Error, Reason: reason})
		tp.log("INFO", msg, id)
		tp.phase(flow.Entry{Phase: flow.PhaseCase, ID: id, Result: flow.Fail, Reason: reason, Stack: msg, Where: name}, time.Second)
		tp.phase(flow.Entry{Phase: flow.PhaseTearDown, ID: id, Result: flow.Error, Reason: msg}, 0)
		tp.phase(flow.Entry{Phase: flow.PhaseCase, ID: id, Result: flow.Skip, Reason: msg}, 0)
		for _, r := range tp.play(TerminalOptions{Verbose: 2}) {
			if r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u202e') {
				t.Fatalf("%U is printed", r)
			}
		}
	})
}
