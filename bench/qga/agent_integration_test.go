//go:build integration

package qga_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/bench/qmp"
)

// An agent is a real qemu-ga on this machine.
type agent struct {
	t    testing.TB
	dir  string
	args []string
	cmd  *exec.Cmd
}

func startAgent(t testing.TB, args ...string) *agent {
	t.Helper()
	a := &agent{t: t, dir: t.TempDir(), args: args}
	a.start()
	t.Cleanup(a.stop)
	return a
}

func (a *agent) socket() string { return filepath.Join(a.dir, "agent") }

func (a *agent) start() {
	a.t.Helper()
	a.cmd = exec.Command("qemu-ga", append([]string{
		"--method=unix-listen", "--path=" + a.socket(), "--statedir=" + a.dir,
		"--pidfile=" + filepath.Join(a.dir, "pid"),
	}, a.args...)...)
	a.cmd.Env = append(os.Environ(), "VMTB_TEST_OWN=the agent's")
	if err := a.cmd.Start(); err != nil {
		a.t.Fatalf("this test needs qemu-ga (Debian: qemu-guest-agent): %v", err)
	}
}

func (a *agent) stop() {
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
}

// dial returns a client that the test closes at its end.
func (a *agent) dial(ctx context.Context, o qga.Options) *qga.Client {
	a.t.Helper()
	for {
		c, err := qga.Dial(ctx, a.socket(), o)
		if err == nil {
			a.t.Cleanup(func() { _ = c.Close() })
			return c
		}
		if ctx.Err() != nil {
			a.t.Fatal(err)
		}
	}
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// agentClient starts a separate agent and returns its client.
func agentClient(t testing.TB, args ...string) (context.Context, *qga.Client) {
	t.Helper()
	ctx := deadline(t)
	return ctx, startAgent(t, args...).dial(ctx, qga.Options{})
}

func TestIntegrationAgentExec(t *testing.T) {
	ctx, c := agentClient(t)
	for name, test := range map[string]struct {
		cmd  bench.Command
		want bench.Result
	}{
		"true": {bench.Command{Argv: []string{"true"}}, bench.Result{}},
		"exit code": {
			bench.Shell("echo out; echo err >&2; exit 3"),
			bench.Result{ExitCode: 3, Stdout: []byte("out\n"), Stderr: []byte("err\n")},
		},
		"signal": {bench.Shell("echo out; kill -SEGV $$"), bench.Result{Signal: 11, Stdout: []byte("out\n")}},
		"arguments": {
			bench.Command{Argv: []string{"printf", "[%s]", "", "a b", "ü\n", "-"}},
			bench.Result{Stdout: []byte("[][a b][ü\n][-]")},
		},
		"stdin": {
			bench.Command{Argv: []string{"cat"}, Stdin: []byte("\x00\xff\n")},
			bench.Result{Stdout: []byte("\x00\xff\n")},
		},
		"no stdin": {bench.Command{Argv: []string{"cat"}}, bench.Result{}},
		"env": {
			bench.Command{
				Argv: []string{"sh", "-c", `echo "$X$VMTB_TEST_OWN$Y"`}, Env: []string{"X=a=b ", "Y= c", "X=over "},
			},
			bench.Result{Stdout: []byte("over the agent's c\n")},
		},
		"dir": {
			bench.Command{Argv: []string{"sh", "-c", `pwd; echo "$0-$1"`, "x y", "z"}, Dir: "/usr"},
			bench.Result{Stdout: []byte("/usr\nx y-z\n")},
		},
		"dir, relative program": {
			bench.Command{Argv: []string{"./true"}, Dir: "/bin"}, bench.Result{},
		},
		"127 of its own": {
			bench.Command{Argv: []string{"sh", "-c", "exit 127"}, Dir: "/"}, bench.Result{ExitCode: 127},
		},
	} {
		got, err := c.Exec(ctx, test.cmd)
		if err != nil || !cmp.Equal(got, test.want, cmpopts.EquateEmpty()) {
			t.Errorf("%s: %v %s", name, err, cmp.Diff(test.want, got))
		}
	}
	for name, cmd := range map[string]bench.Command{
		"no program":         {Argv: []string{"no-such-program"}},
		"no program in dir":  {Argv: []string{"no-such-program"}, Dir: "/usr"},
		"no dir":             {Argv: []string{"true"}, Dir: "/no/such/dir"},
		"not executable":     {Argv: []string{"/etc/passwd"}},
		"not executable, in": {Argv: []string{"./passwd"}, Dir: "/etc"},
	} {
		if r, err := c.Exec(ctx, cmd); err == nil {
			t.Errorf("%s: %+v", name, r)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}

func TestIntegrationAgentBigOutput(t *testing.T) {
	ctx, c := agentClient(t)
	const most = 16 << 20
	r, err := c.Exec(ctx, bench.Shell("head -c 20000000 /dev/zero; head -c 1000000 /dev/urandom >&2"))
	if err != nil || !r.OK() {
		t.Fatal(r.Err(bench.Shell("head")), err)
	}
	if len(r.Stdout) != most || !r.StdoutTruncated || len(r.Stderr) != 1000000 || r.StderrTruncated {
		t.Errorf("%d %v, %d %v", len(r.Stdout), r.StdoutTruncated, len(r.Stderr), r.StderrTruncated)
	}
	began := time.Now()
	r, err = c.Exec(ctx, bench.Shell("head -c 16777216 /dev/zero | tee /dev/stderr"))
	if err != nil || len(r.Stdout) != most || len(r.Stderr) != most {
		t.Errorf("both streams full: %d, %d, %v", len(r.Stdout), len(r.Stderr), err)
	}
	t.Logf("2 x 16 MiB of output in %v", time.Since(began))
}

// When ctx ends, the command ends with all its descendants, even those that hold the output or left
// the process group.
func TestIntegrationAgentExecKills(t *testing.T) {
	ctx, c := agentClient(t)
	for name, line := range map[string]string{
		"child":      "sleep 1000; true",
		"background": "sleep 1000 & exit 0",
		"session":    "setsid sleep 1000 & wait",
		"deaf":       "trap '' TERM; sleep 1000; sleep 1000",
		"many":       "for i in 1 2 3 4 5 6 7 8 9; do (sleep 1000; sleep 1000) & done; wait",
	} {
		tag := "VMTB_TEST=" + rand.Text()
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		began := time.Now()
		cmd := bench.Shell("echo so far; " + line)
		cmd.Env, cmd.Grace = []string{tag}, 300*time.Millisecond
		r, err := c.Exec(short, cmd)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || string(r.Stdout) != "so far\n" ||
			time.Since(began) > 10*time.Second {
			t.Errorf("%s: %+v, %v after %v", name, r, err, time.Since(began))
		}
		left, _ := c.Exec(ctx, bench.Command{
			Argv: []string{"/bin/sh", "-c", `grep -ls "$1" /proc/[0-9]*/environ`, "sh", tag},
		})
		if len(left.Stdout) > 0 {
			t.Errorf("%s: left over: %s", name, left.Stdout)
		}
	}
}

func TestIntegrationAgentSignal(t *testing.T) {
	ctx, c := agentClient(t)
	p, err := c.Start(ctx, bench.Shell("trap 'echo usr; exit 5' USR1; echo ready; while :; do sleep 0.01; done"))
	if err != nil {
		t.Fatal(err)
	}
	waitForTrap(ctx, t, c, p.PID())
	if err := p.Signal(ctx, int(syscall.SIGUSR1)); err != nil {
		t.Error(err)
	}
	if r, err := p.Wait(ctx); err != nil || r.ExitCode != 5 || string(r.Stdout) != "ready\nusr\n" {
		t.Errorf("%+v, %v", r, err)
	}
	if err := p.Signal(ctx, int(syscall.SIGUSR1)); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("ended: %v", err)
	}
}

// waitForTrap waits until a process catches SIGUSR1.
func waitForTrap(ctx context.Context, t *testing.T, c *qga.Client, pid int) {
	t.Helper()
	for {
		status, err := c.ReadFile(ctx, fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		var caught uint64
		_, after, _ := strings.Cut(string(status), "SigCgt:")
		if _, err := fmt.Sscanf(after, "%x", &caught); err == nil && caught&(1<<(syscall.SIGUSR1-1)) != 0 {
			return
		}
	}
}

func TestIntegrationAgentDisabled(t *testing.T) {
	ctx, c := agentClient(t, "--block-rpcs=guest-exec,guest-file-open")
	info, err := c.Info(ctx)
	if err != nil || info.Version == "" || info.Check("guest-ping", "guest-shutdown") != nil ||
		info.Check("guest-exec") == nil {
		t.Errorf("%+v, %v", info, err)
	}
	_, execErr := c.Exec(ctx, bench.Shell("true"))
	_, readErr := c.ReadFile(ctx, "/etc/passwd")
	for cmd, err := range map[string]error{
		"guest-exec": execErr, "guest-file-open": readErr, "guest-no-such": c.Execute(ctx, "guest-no-such", nil, nil),
	} {
		var disabled *qga.CommandDisabled
		if !errors.As(err, &disabled) || disabled.Cmd != cmd {
			t.Errorf("%s: %v", cmd, err)
		}
	}
}

func TestIntegrationAgentRefusesShutdown(t *testing.T) {
	ctx, c := agentClient(t)
	if err := c.Shutdown(ctx, "sideways"); !errors.As(err, new(*qmp.Error)) {
		t.Error(err)
	}
}

// Exec distinguishes a program that cannot start from one that failed, and returns the shell's exit
// code for it.
func TestIntegrationStartErrors(t *testing.T) {
	c := startAgent(t).dial(t.Context(), qga.Options{})
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 127\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, streamed := range []bool{false, true} {
		for program, code := range map[string]int{
			"vmtb-nonesuch": bench.CodeNotFound, filepath.Join(dir, "none"): bench.CodeNotFound,
			script: bench.CodeNotExecutable, dir: bench.CodeNotExecutable,
		} {
			cmd := bench.Command{Argv: []string{program}}
			if streamed {
				cmd.Stdout, cmd.Stderr = new(strings.Builder), new(strings.Builder)
			}
			_, err := c.Exec(t.Context(), cmd)
			if start, ok := errors.AsType[*bench.StartError](err); !ok || start.Code != code ||
				start.Program != program {
				t.Errorf("streamed %t: %v, want a StartError with code %d", streamed, err, code)
			}
		}
	}
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := c.Exec(t.Context(), bench.Command{Argv: []string{script}, Stdout: new(strings.Builder)})
	if err != nil || r.ExitCode != 127 {
		t.Errorf("a command whose own exit code is 127: %+v, %v", r, err)
	}
	_, err = c.Exec(t.Context(), bench.Command{Argv: []string{"true"}, Dir: filepath.Join(dir, "none")})
	if err == nil || errors.As(err, new(*bench.StartError)) ||
		!strings.Contains(err.Error(), "cannot enter the directory") {
		t.Errorf("a directory that is not there: %v", err)
	}
}
