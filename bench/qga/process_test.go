package qga_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/bench/qmp"
	"vmtb/internal/fake/fakeqga"
	"vmtb/internal/fake/fakeqmp"
)

// A guest has processes, and the test decides when they end. Like the real agent, it forgets a
// process once it has reported its end.
type guest struct {
	mu       sync.Mutex
	started  []execArgs
	ends     map[int]map[string]any // the final answer of guest-exec-status
	asked    int
	deaf     atomic.Bool   // guest-exec-status gets no answer
	slow     time.Duration // delay of the answer to guest-exec
	onSignal func(sig, mark string)
}

type execArgs struct {
	Path  string
	Arg   []string
	Env   []string
	Input []byte `json:"input-data"`
}

func (g *guest) commands() fakeqga.Commands {
	g.ends = map[int]map[string]any{}
	return fakeqga.Commands{"guest-exec": g.exec, "guest-exec-status": g.status}
}

func (g *guest) exec(raw json.RawMessage) (any, error) {
	var args execArgs
	if err := json.Unmarshal(raw, &args); err != nil {
		return nil, err
	}
	time.Sleep(g.slow)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.started = append(g.started, args)
	pid := len(g.started)
	switch {
	case args.Path == "cat":
		g.ends[pid] = map[string]any{"exitcode": 0, "out-data": []byte("HOME=/root\x00PATH=/bin\x00")}
	case args.Path == "/bin/sh" && len(args.Arg) == 6: // the script that sends signals
		g.ends[pid] = map[string]any{"exitcode": 0}
		g.onSignal(args.Arg[3], args.Arg[5])
	}
	return map[string]int{"pid": pid}, nil
}

func (g *guest) status(raw json.RawMessage) (any, error) {
	var args struct{ PID int }
	if err := json.Unmarshal(raw, &args); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if args.PID > 1 {
		g.asked++
	}
	if g.deaf.Load() {
		return nil, fakeqmp.ErrSilence
	}
	end, known := g.ends[args.PID]
	switch {
	case args.PID > len(g.started) || known && end == nil:
		return nil, fakeqmp.Failure{Class: "GenericError", Desc: "Invalid parameter 'pid'"}
	case !known:
		return map[string]any{"exited": false}, nil
	}
	g.ends[args.PID] = nil
	end["exited"] = true
	return end, nil
}

func (g *guest) end(pid int, how map[string]any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ends[pid] = how
}

func TestProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guest{}
		c := serve(t, g.commands())
		cmd := bench.Command{Argv: []string{"prog", "a b"}, Env: []string{"X=1", "HOME=/h"}, Stdin: []byte("\x00in")}
		p, err := c.Start(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		got := g.started[1]
		if !strings.HasPrefix(got.Env[len(got.Env)-1], "VMTB_EXEC=") {
			t.Errorf("no mark in %q", got.Env)
		}
		got.Env = got.Env[:len(got.Env)-1]
		want := execArgs{"prog", []string{"a b"}, []string{"HOME=/h", "PATH=/bin", "X=1"}, []byte("\x00in")}
		if !cmp.Equal(got, want) {
			t.Error(cmp.Diff(want, got))
		}
		if done, _, err := p.Status(t.Context()); done || err != nil || p.PID() != 2 {
			t.Errorf("%v, %v", done, err)
		}
		time.AfterFunc(time.Minute, func() {
			g.end(2, map[string]any{
				"signal": 11, "out-data": []byte{0xFF, 0}, "err-data": []byte("e"), "out-truncated": true,
			})
		})
		result := bench.Result{Signal: 11, Stdout: []byte{0xFF, 0}, Stderr: []byte("e"), StdoutTruncated: true}
		began := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if r, err := p.Wait(t.Context()); err != nil || !cmp.Equal(r, result) {
					t.Errorf("%v, %+v", err, r)
				}
			})
		}
		wg.Wait()
		if late := time.Since(began) - time.Minute; late < 0 || late > 250*time.Millisecond {
			t.Errorf("the end was seen after %v", late)
		}
		if limit := 3*4*60 + 200; g.asked > limit {
			t.Errorf("asked %d times in a minute", g.asked)
		}
		asked := g.asked
		if done, r, err := p.Status(t.Context()); !done || err != nil || !cmp.Equal(r, result) || g.asked != asked {
			t.Errorf("afterwards: %v, %v, asked %d times more", done, err, g.asked-asked)
		}
		if err := p.Signal(t.Context(), 9); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("signal: %v", err)
		}
	})
}

// The client polls a short process at short intervals.
func TestWaitIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guest{}
		c := serve(t, g.commands())
		p, err := c.Start(t.Context(), bench.Shell("x"))
		if err != nil {
			t.Fatal(err)
		}
		const lives = 10 * time.Millisecond
		time.AfterFunc(lives, func() { g.end(2, map[string]any{"exitcode": 1}) })
		began := time.Now()
		if r, err := p.Wait(t.Context()); err != nil || r.ExitCode != 1 ||
			time.Since(began) > lives+2*time.Millisecond {
			t.Errorf("%+v, %v after %v", r, err, time.Since(began))
		}
	})
}

// An answer that arrives after its caller gave up is not lost, although the agent gives it only
// once.
func TestStatusGivenUpOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := connect(t, qga.Options{})
		asked := 0
		go peer.Serve(func(r fakeqmp.Request) (any, error) {
			switch r.Cmd {
			case "guest-sync-delimited":
				return nil, fakeqga.Sync(peer, r)
			case "guest-exec":
				return map[string]int{"pid": 1}, nil
			}
			asked++
			switch asked {
			case 1: // the query for cat
				return map[string]any{"exited": true, "exitcode": 0}, nil
			case 2: // the query for slow
				time.Sleep(time.Minute)
				return map[string]any{"exited": true, "exitcode": 7}, nil
			}
			return nil, fakeqmp.Failure{Class: "GenericError", Desc: "Invalid parameter 'pid'"}
		})
		p, err := c.Start(t.Context(), bench.Shell("x"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: %v", err)
		}
		began := time.Now() // the agent does not answer for longer than the deadline
		if _, err := p.Wait(t.Context()); !isTimeout(err, "guest-sync-delimited") ||
			time.Since(began) != 10*time.Second {
			t.Errorf("silence: %v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute)
		if r, err := p.Wait(t.Context()); err != nil || r.ExitCode != 7 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// The client repeats the question after a lost answer. If the agent has lost the process, the error
// is final.
func TestStatusLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guest{}
		c := serve(t, g.commands())
		p, err := c.Start(t.Context(), bench.Shell("x"))
		if err != nil {
			t.Fatal(err)
		}
		g.deaf.Store(true)
		if _, err := p.Wait(t.Context()); !isTimeout(err, "guest-exec-status") {
			t.Errorf("silence: %v", err)
		}
		g.deaf.Store(false)
		if done, _, err := p.Status(t.Context()); done || err != nil {
			t.Errorf("asked again: %v, %v", done, err)
		}
		g.end(2, nil) // as if another client had got the answer
		for range 2 {
			if _, err := p.Wait(t.Context()); !errors.Is(err, qga.ErrLost) || !errors.As(err, new(*qmp.Error)) {
				t.Errorf("got %v", err)
			}
		}
		if done, _, _ := p.Status(t.Context()); !done {
			t.Error("a lost process is not done")
		}
	})
}

func TestExecKills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, stubborn := range map[string]bool{"polite": false, "stubborn": true} {
			g := &guest{}
			var sent []string
			g.onSignal = func(sig, mark string) {
				sent = append(sent, sig)
				if env := g.started[1].Env; mark != env[len(env)-1] {
					t.Errorf("signal for %q, want that of %q", mark, env)
				}
				if sig == "9" == stubborn && g.ends[2] == nil {
					g.ends[2] = map[string]any{"signal": 15, "out-data": []byte("so far")}
				}
			}
			c := serve(t, g.commands())
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			r, err := c.Exec(ctx, bench.Command{Argv: []string{"x"}, Grace: 5 * time.Second})
			if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "killed") ||
				string(r.Stdout) != "so far" {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
			took := time.Since(began)
			if stubborn && took < 65*time.Second || !stubborn && took > 61*time.Second ||
				!slices.Equal(sent, []string{"15", "9"}) {
				t.Errorf("%s: took %v, sent %q", name, took, sent)
			}
		}
	})
}

// If the agent falls silent, Exec ends in limited time, and its error names the failed step.
func TestExecSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guest{}
		c := serve(t, g.commands())
		if _, err := c.Start(t.Context(), bench.Shell("x")); err != nil {
			t.Fatal(err)
		}
		g.deaf.Store(true)
		g.onSignal = func(string, string) {}
		began := time.Now()
		_, err := c.Exec(t.Context(), bench.Shell("x"))
		if !isTimeout(err, "guest-exec-status") || !strings.Contains(err.Error(), "could not be killed") ||
			time.Since(began) > time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A process whose start was not confirmed in time is killed.
func TestStartUnconfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guest{}
		c := serve(t, g.commands())
		if _, err := c.Exec(t.Context(), bench.Command{}); err == nil {
			t.Error("nothing was run")
		}
		g.slow = 2 * time.Second
		g.onSignal = func(sig, mark string) {
			if env := g.started[1].Env; sig != "9" || mark != env[len(env)-1] {
				t.Errorf("signal %s for %s of %q", sig, mark, env)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // enough for cat
		defer cancel()
		if _, err := c.Start(ctx, bench.Shell("x")); !isTimeout(err, "guest-exec") {
			t.Error(err)
		}
		if len(g.started) != 3 {
			t.Errorf("started %v", g.started)
		}
	})
}

// The attempt to kill a process with an unconfirmed start ends in limited time.
func TestStartSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guest{}
		c := serve(t, g.commands())
		if _, err := c.Start(t.Context(), bench.Shell("x")); err != nil {
			t.Fatal(err)
		}
		g.slow = time.Hour
		began := time.Now()
		if _, err := c.Start(t.Context(), bench.Shell("x")); !isTimeout(err, "guest-exec") ||
			time.Since(began) != 35*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(3 * time.Hour)
	})
}

func TestCommandsThatCannotBeSent(t *testing.T) {
	g := &guest{}
	c := serve(t, g.commands())
	for _, cmd := range []bench.Command{
		{},
		{Argv: []string{""}},
		{Argv: []string{"a", "\xff"}},
		{Argv: []string{"a\x00"}},
		{Argv: []string{"a"}, Env: []string{"no value"}},
		{Argv: []string{"a"}, Dir: "\x00"},
	} {
		if _, err := c.Start(t.Context(), cmd); err == nil {
			t.Errorf("%q was started", cmd.Argv)
		}
	}
	if len(g.started) != 0 {
		t.Errorf("started %v", g.started)
	}
}
