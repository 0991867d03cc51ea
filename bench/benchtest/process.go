package benchtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"vmtb/bench"
)

// begin starts a command line that prints "ready" first, and returns a reader of its further
// output. If the process still runs at the end of the test, it is killed.
func begin(t *testing.T, m bench.Machine, line string) (bench.Process, *bufio.Reader) {
	t.Helper()
	r, w := io.Pipe()
	c := bench.Shell(line)
	c.Stdout, c.Grace = w, bench.DefaultGrace/4
	p, err := m.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.Kill(context.Background()); err != nil {
			t.Error(err)
		}
	})
	said := bufio.NewReader(r)
	if line, err := said.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return p, said
}

// testSignals tests that a signal reaches the process, and no other one. It does not use SIGHUP:
// below nohup a shell cannot trap that.
func testSignals(t *testing.T, m bench.Machine, _ string) {
	p, said := begin(
		t, m, "trap 'echo usr1' USR1; trap 'echo term; exit 5' TERM; echo ready; while :; do sleep 0.05; done",
	)
	for _, s := range []struct {
		sig  syscall.Signal
		word string
	}{{syscall.SIGUSR1, "usr1\n"}, {syscall.SIGUSR1, "usr1\n"}, {syscall.SIGTERM, "term\n"}} {
		if err := p.Signal(t.Context(), int(s.sig)); err != nil {
			t.Errorf("%v: %v", s.sig, err)
		}
		if line, err := said.ReadString('\n'); line != s.word {
			t.Errorf("%v: %q, %v", s.sig, line, err)
		}
	}
	if r, err := p.Wait(t.Context()); err != nil || r.ExitCode != 5 || r.Signal != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := p.Signal(t.Context(), int(syscall.SIGUSR1)); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("it has ended: %v", err)
	}

	p, _ = begin(t, m, "echo ready; exec sleep 1000")
	if err := p.Signal(t.Context(), int(syscall.SIGTERM)); err != nil {
		t.Error(err)
	}
	if r, err := p.Wait(t.Context()); err != nil || r.Signal != int(syscall.SIGTERM) {
		t.Errorf("%+v, %v", r, err)
	}
}

// testWait tests that an abandoned wait ends nothing, and that all waits get the result, also later
// ones.
func testWait(t *testing.T, m bench.Machine, dir string) {
	c := bench.Shell("until [ -e end ]; do sleep 0.05; done; echo out; echo err >&2; exit 6")
	c.Dir = dir
	p, err := m.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r, err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("given up: %+v, %v", r, err)
	}
	if r, err := m.Exec(t.Context(), bench.Shell(fmt.Sprintf("kill -0 %d", p.PID()))); err != nil || !r.OK() {
		t.Errorf("it does not live: %+v, %v", r, err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { testEnd(t, p) })
	}
	if err := m.WriteFile(t.Context(), dir+"/end", nil); err != nil {
		t.Error(err)
	}
	wg.Wait()
	testEnd(t, p)
	if r, err := p.Kill(t.Context()); err != nil || r.ExitCode != 6 {
		t.Errorf("Kill of one that ended: %+v, %v", r, err)
	}
}

func testEnd(t *testing.T, p bench.Process) {
	if r, err := p.Wait(t.Context()); err != nil || r.ExitCode != 6 || string(r.Stdout) != "out\n" ||
		string(r.Stderr) != "err\n" {
		t.Errorf("%+v, %v", r, err)
	}
}

// testKill tests Kill with SIGTERM and with SIGKILL, and that descendants end too.
func testKill(t *testing.T, m bench.Machine, dir string) {
	p, _ := begin(t, m, "trap 'exit 8' TERM; echo ready; while :; do sleep 0.05; done")
	if r, err := p.Kill(t.Context()); err != nil || r.ExitCode != 8 {
		t.Errorf("polite: %+v, %v", r, err)
	}
	p, _ = begin(t, m, "(trap '' TERM; echo ready; echo $$ >"+dir+"/deaf; while :; do sleep 0.05; done)")
	if r, err := p.Kill(t.Context()); err != nil || r.Signal == 0 {
		t.Errorf("by force: %+v, %v", r, err)
	}
	r, err := m.Exec(t.Context(), bench.Shell("! kill -0 $(cat "+dir+"/deaf)"))
	if err != nil || !r.OK() {
		t.Errorf("it lives: %+v, %v", r, err)
	}
	if r, err := p.Wait(t.Context()); err != nil || r.Signal == 0 {
		t.Errorf("afterwards: %+v, %v", r, err)
	}
}
