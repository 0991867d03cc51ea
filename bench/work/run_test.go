package work_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/bench/work"
)

// eachShell runs a test with every available shell.
func eachShell(t *testing.T, test func(t *testing.T, m bench.Machine)) {
	for name, m := range machines(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, m)
		})
	}
}

func TestShell(t *testing.T) {
	eachShell(t, func(t *testing.T, m bench.Machine) {
		for _, c := range []struct {
			shell   work.Shell
			exit    bench.Result
			verdict work.Verdict
		}{
			{
				work.Shell{Line: "echo out; echo err >&2"},
				bench.Result{Stdout: []byte("out\n"), Stderr: []byte("err\n")},
				work.Pass,
			},
			{work.Shell{Line: "exit 3"}, bench.Result{ExitCode: 3}, work.Fail},
			{work.Shell{Line: "exit 255"}, bench.Result{ExitCode: 255}, work.Fail},
			{work.Shell{Line: "kill -9 $$"}, bench.Result{Signal: 9}, work.Fail},
			{work.Shell{Line: "kill -15 $$"}, bench.Result{Signal: 15}, work.Fail},
			{
				work.Shell{Line: `pwd; printf "%s" "$X"`, Dir: "/proc", Env: []string{"X=a 'b\" $c *"}},
				bench.Result{Stdout: []byte("/proc\na 'b\" $c *")},
				work.Pass,
			},
			{work.Shell{Line: "cat", Stdin: []byte("a\x00\xff")}, bench.Result{Stdout: []byte("a\x00\xff")}, work.Pass},
			{work.Shell{Line: "cat"}, bench.Result{}, work.Pass},
		} {
			r := wait(t, start(t, m, c.shell))
			if diff := cmp.Diff(c.exit, r.Exit, cmp.Comparer(bytes.Equal)); diff != "" || r.Verdict != c.verdict {
				t.Errorf("%v: %s (-want +got):\n%s", c.shell, r.Verdict, diff)
			}
			if (r.Err() == nil) != (c.verdict == work.Pass) {
				t.Errorf("%v: error %v", c.shell, r.Err())
			}
		}
	})
}

// With setsid, a workload has its own session and ignores no further signals.
func TestDetached(t *testing.T) {
	here, err := exec.Command("grep", "SigIgn", "/proc/self/status").Output() // a CI may start us with ignored signals
	if err != nil {
		t.Fatal(err)
	}
	inherited := ignored(t, here)
	eachShell(t, func(t *testing.T, m bench.Machine) {
		run := start(t, m, work.Shell{Line: "grep SigIgn /proc/self/status; sleep 300"})
		h := run.Handle()
		with := !strings.Contains(t.Name(), "without")
		if (h.Session == h.PID) != with || h.PID <= 1 {
			t.Errorf("session %d, process %d", h.Session, h.PID)
		}
		var out []byte
		for len(out) == 0 {
			var err error
			if out, _, err = run.Output(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if added := ignored(t, out) &^ inherited; with && added != 0 {
			t.Errorf("signals ignored by the workload alone: %#x", added)
		}
		if on, err := run.Running(t.Context()); !on || err != nil {
			t.Errorf("Running: %v, %v", on, err)
		}
	})
}

// ignored returns the mask in a line of /proc/PID/status.
func ignored(t *testing.T, line []byte) uint64 {
	t.Helper()
	mask, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(string(line), "SigIgn:")), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask
}

// Kill ends every process of a workload: also one that ignores SIGTERM, left the session, or lost
// its parent.
func TestKill(t *testing.T) {
	const line = `sh -c 'trap "" TERM; sleep 301 & sleep 301' & (sleep 301 &) ; command -v setsid >/dev/null && ` +
		`setsid sleep 301 & echo ready; sleep 301`
	eachShell(t, func(t *testing.T, m bench.Machine) {
		run := start(t, m, work.Shell{Line: line})
		for out := []byte(nil); len(out) == 0; {
			out, _, _ = run.Output(t.Context())
		}
		if n := len(members(t, run)); n < 3 {
			t.Errorf("only %d processes to kill", n)
		}
		if err := run.Kill(t.Context(), 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if left := members(t, run); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if r := wait(t, run); r.Exit.Signal != 15 && r.Exit.Signal != 9 || r.Verdict != work.Fail {
			t.Errorf("%+v", r)
		}
		if err := run.Kill(t.Context(), 0); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

// members returns the command lines of the processes with the run's mark.
func members(t *testing.T, run *work.Run) (list []string) {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range environs {
		if env, err := os.ReadFile(f); err == nil && bytes.Contains(env, []byte(run.Handle().Dir)) {
			line, _ := os.ReadFile(filepath.Dir(f) + "/cmdline")
			list = append(list, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return list
}

// A workload that handles SIGTERM can write its last output.
func TestKillPolitely(t *testing.T) {
	run := start(t, this(), work.Shell{Line: `trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done`})
	for out := []byte(nil); len(out) == 0; {
		out, _, _ = run.Output(t.Context())
	}
	if err := run.Kill(t.Context(), 30*time.Second); err != nil {
		t.Fatal(err)
	}
	if r := wait(t, run); r.Exit.ExitCode != 5 || string(r.Exit.Stdout) != "ready\nbye\n" {
		t.Errorf("%+v", r)
	}
}

func TestLost(t *testing.T) {
	lose := map[string]struct {
		how  func(h work.Handle) error
		says string
	}{
		"killed":    {func(h work.Handle) error { return syscall.Kill(-h.PID, syscall.SIGKILL) }, "was killed"},
		"directory": {func(h work.Handle) error { return os.RemoveAll(h.Dir) }, "no such file"},
		"garbage": {
			func(h work.Handle) error { return os.WriteFile(h.Dir+"/state", []byte("x"), 0o600) }, "neither running",
		},
	}
	for name, c := range lose {
		t.Run(name, func(t *testing.T) {
			run := start(t, this(), work.Shell{Line: "echo here; sleep 302"})
			for out := []byte(nil); len(out) == 0; {
				out, _, _ = run.Output(t.Context())
			}
			if err := c.how(run.Handle()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r, err := run.Wait(ctx)
			var guest *bench.GuestError
			if !errors.Is(err, work.ErrLost) || !errors.As(err, &guest) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Wait: %v", err)
			}
			if r.Verdict != work.Fail || name != "directory" && string(r.Exit.Stdout) != "here\n" {
				t.Errorf("result %+v", r)
			}
			if _, err := run.Running(t.Context()); !errors.Is(err, work.ErrLost) {
				t.Errorf("Running: %v", err)
			}
		})
	}
}

func TestBootedAnew(t *testing.T) {
	run := start(t, this(), work.Shell{Line: "sleep 302"})
	h := run.Handle()
	h.Boot, h.Start = "another", h.Start+1 // the pid of another process
	if _, err := work.RunOf(this(), h).Wait(t.Context()); !errors.Is(err, work.ErrLost) ||
		!strings.Contains(err.Error(), "booted again") {
		t.Errorf("Wait: %v", err)
	}
}

// Wait returns the result if the workload ended between Running and Wait, or long before anybody
// waits.
func TestEndedBefore(t *testing.T) {
	run := start(t, this(), work.Shell{Line: "sleep 0.1; echo done"})
	for on := true; on; {
		var err error
		if on, err = run.Running(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if r := wait(t, run); string(r.Exit.Stdout) != "done\n" {
			t.Errorf("%+v", r)
		}
	}
}

func TestHugeOutput(t *testing.T) {
	const size = 50 << 20
	eachShell(t, func(t *testing.T, m bench.Machine) {
		r := wait(
			t,
			start(t, m, work.Shell{
				Line: "head -c " + strconv.Itoa(size) + " /dev/zero; echo end >&2",
				Env:  []string{"PATH=" + os.Getenv("PATH")},
			}),
		)
		if len(r.Exit.Stdout) != size || r.Exit.StdoutTruncated || string(r.Exit.Stderr) != "end\n" {
			t.Errorf("%d bytes, %q", len(r.Exit.Stdout), r.Exit.Stderr)
		}
	})
}

// Another machine value can take over a run.
func TestGoOn(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	line := "read -r word <" + gate + "; echo $word"
	run := start(t, this(), work.Shell{Line: line})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := run.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: %v", err)
	}
	if err := os.WriteFile(gate, []byte("moved\n"), 0); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*work.Run{run, run.On(this())} {
		if res := wait(t, r); string(res.Exit.Stdout) != "moved\n" || r.String() != line+" on host" {
			t.Errorf("%v: %+v", r, res)
		}
	}
}

func TestNotStarted(t *testing.T) {
	igt := work.IGT{Tests: []string{"igt@a@b"}}
	igt.Config.ToolDir = "/no/such"
	for _, c := range []struct {
		w    work.Workload
		base string
		says string
	}{
		{igt, "", "/no/such/igt_runner: not found"},
		{work.Shell{Line: "true", Dir: "/no/such"}, "", "/no/such"},
		{work.Shell{Line: "true"}, "/no/such", "/no/such"},
		{work.IGT{}, "", "no tests"},
		{work.Wsim{}, "", "either a descriptor or a file"},
	} {
		base := t.TempDir()
		if c.base != "" {
			base = c.base
		}
		_, err := work.Start(t.Context(), this(), c.w, work.Options{Base: base})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.w, err)
		}
		if left, err := os.ReadDir(base); err == nil && len(left) > 0 {
			t.Errorf("%v: left %v", c.w, left)
		}
	}
}

func TestDo(t *testing.T) {
	base := t.TempDir()
	r, err := work.Do(t.Context(), this(), work.Shell{Line: "echo x"}, work.Options{Base: base})
	if err != nil || string(r.Exit.Stdout) != "x\n" {
		t.Errorf("%+v, %v", r, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := work.Do(ctx, this(), work.Shell{Line: "sleep 303"}, work.Options{Base: base}); !errors.Is(
		err, context.DeadlineExceeded,
	) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(base); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// If vmtb dies, the run's leftovers on the host are undone from the journal.
func TestLeftover(t *testing.T) {
	name := filepath.Join(t.TempDir(), "undo.jsonl")
	open := func() *undo.Log {
		log, err := undo.Open(name, undo.KindOf[work.Leftover]())
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	log := open()
	run, err := work.Start(t.Context(), this(), work.Shell{Line: "sleep 304"}, work.Options{
		Base: t.TempDir(), Journal: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	log = open()
	if err := log.Undo(t.Context(), host.OS{}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(run.Handle().Dir); !os.IsNotExist(err) || len(members(t, run)) > 0 {
		t.Errorf("left: %v, %v", err, members(t, run))
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if err := (work.Leftover{Dir: "/etc"}).Undo(t.Context(), host.OS{}); err == nil {
		t.Error("/etc taken")
	}
}

// A prepared workload runs only after its start, and can be killed or removed instead.
func TestPrepare(t *testing.T) {
	base := t.TempDir()
	mark := filepath.Join(t.TempDir(), "ran")
	w := work.Shell{Line: "cat >" + mark, Stdin: []byte("x")}
	prepare := func() *work.Prepared {
		p, err := work.Prepare(t.Context(), this(), w, work.Options{Base: base})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ran := func() string {
		data, err := os.ReadFile(mark)
		if err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		return string(data)
	}
	if err := prepare().Remove(t.Context()); err != nil {
		t.Error(err)
	}
	p := prepare()
	if got := ran(); got != "" {
		t.Errorf("it ran before it was started: %q", got)
	}
	run, err := p.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if res := wait(t, run); res.Verdict != work.Pass || ran() != "x" {
		t.Errorf("%+v, %q", res, ran())
	}
	if err := run.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(base); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	few := t.TempDir() // without mkfifo
	for _, tool := range []string{"grep", "mkdir", "rm"} {
		link(t, tool, filepath.Join(few, tool))
	}
	if _, err := work.Prepare(t.Context(), shelled{this(), "/bin/sh", few}, w, work.Options{Base: base}); err == nil ||
		!strings.Contains(err.Error(), "mkfifo") {
		t.Errorf("without mkfifo: %v", err)
	}
	if left, err := os.ReadDir(base); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// If a workload is politely killed at its gate, its command never runs, with any shell, and the
// result has the signal.
func TestKilledAtGate(t *testing.T) {
	eachShell(t, func(t *testing.T, m bench.Machine) {
		if r, err := m.Exec(t.Context(), bench.Command{
			Argv: []string{"/bin/sh", "-c", "command -v mkfifo"},
		}); err != nil || !r.OK() {
			t.Skipf("no mkfifo here: %+v, %v", r, err)
		}
		mark := filepath.Join(t.TempDir(), "ran")
		p, err := work.Prepare(t.Context(), m, work.Shell{Line: "echo x >" + mark}, work.Options{Base: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		run := p.Run()
		if running, err := run.Running(t.Context()); err != nil || !running {
			t.Errorf("at the gate: %v, %v", running, err)
		}
		if err := run.Kill(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		// bash goes on waiting and needs SIGKILL
		if res := wait(t, run); res.Exit.Signal != int(syscall.SIGTERM) && res.Exit.Signal != int(syscall.SIGKILL) {
			t.Errorf("killed: %+v", res)
		}
		if _, err := os.Stat(mark); !os.IsNotExist(err) {
			t.Errorf("it ran: %v", err)
		}
		if err := run.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
