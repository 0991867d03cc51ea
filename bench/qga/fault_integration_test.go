//go:build integration

package qga_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/bench/qmp"
)

// If an agent stops answering for a while, the command times out, and later commands work as
// before.
func TestIntegrationAgentStopsForAWhile(t *testing.T) {
	ctx := deadline(t)
	a := startAgent(t)
	c := a.dial(ctx, qga.Options{Scale: 0.1})
	p, err := c.Start(ctx, bench.Shell("echo done; exit 4"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_ = a.cmd.Process.Signal(syscall.SIGSTOP)
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		if err := c.Execute(short, "guest-get-time", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopped: %v", err)
		}
		if _, err := p.Wait(short); err == nil {
			t.Error("a stopped agent gave an answer")
		}
		cancel()
		if err := c.Execute(ctx, "guest-ping", nil, nil); !errors.As(err, new(*qmp.TimeoutError)) {
			t.Errorf("stopped: %v", err)
		}
		_ = a.cmd.Process.Signal(syscall.SIGCONT)
		if err := c.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		var now int64
		if err := c.Execute(ctx, "guest-get-time", nil, &now); err != nil ||
			time.Since(time.Unix(0, now)).Abs() > time.Minute {
			t.Errorf("%d, %v", now, err)
		}
	}
	if r, err := p.Wait(ctx); err != nil || r.ExitCode != 4 || string(r.Stdout) != "done\n" {
		t.Errorf("%+v, %v", r, err)
	}
}

// The agent discards an unfinished line of an earlier client.
func TestIntegrationAgentAfterCrash(t *testing.T) {
	ctx := deadline(t)
	a := startAgent(t)
	_ = a.dial(ctx, qga.Options{}).Close() // wait until the agent answers
	former, err := net.Dial("unix", a.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer former.Close()
	_, _ = io.WriteString(former, `{"execute": "guest-exec", "arguments": {"path": "tr`)
	c := qga.New(former, qga.Options{}) // as with a virtio port, both clients use the same connection
	if r, err := c.Exec(ctx, bench.Shell("echo hello")); err != nil || string(r.Stdout) != "hello\n" {
		t.Errorf("%+v, %v", r, err)
	}
}

// A restarted agent does not know the processes of the old one. The relay plays QEMU: the client
// stays connected to it.
func TestIntegrationAgentRestarts(t *testing.T) {
	ctx := deadline(t)
	a := startAgent(t)
	_ = a.dial(ctx, qga.Options{}).Close()
	client, relay := net.Pipe()
	c := qga.New(client, qga.Options{Scale: 0.1})
	defer c.Close()
	attach := func() net.Conn {
		conn, err := net.Dial("unix", a.socket())
		for err != nil && ctx.Err() == nil {
			conn, err = net.Dial("unix", a.socket())
		}
		go func() { _, _ = io.Copy(relay, conn) }()
		return conn
	}
	var mu sync.Mutex
	agent := attach()
	go func() {
		buf := make([]byte, 1<<20)
		for {
			n, err := relay.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			_, _ = agent.Write(buf[:n])
			mu.Unlock()
		}
	}()
	p, err := c.Start(ctx, bench.Command{Argv: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(p.PID(), syscall.SIGKILL) }()
	if _, err := relay.Write([]byte(`{"return": {"exi`)); err != nil { // the agent's last reply breaks off
		t.Fatal(err)
	}
	a.stop()
	mu.Lock()
	a.start()
	agent = attach()
	mu.Unlock()
	if err := c.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(ctx); !errors.Is(err, qga.ErrLost) {
		t.Errorf("got %v", err)
	}
	if r, err := c.Exec(ctx, bench.Shell("echo again")); err != nil || string(r.Stdout) != "again\n" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestIntegrationAgentEnds(t *testing.T) {
	ctx := deadline(t)
	a := startAgent(t)
	c := a.dial(ctx, qga.Options{})
	p, err := c.Start(ctx, bench.Command{Argv: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(p.PID(), syscall.SIGKILL) }()
	time.AfterFunc(100*time.Millisecond, func() { _ = a.cmd.Process.Kill() })
	if _, err := p.Wait(ctx); !errors.Is(err, qmp.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestIntegrationAgentLoad(t *testing.T) {
	const workers, turns = 64, 10
	ctx, c := agentClient(t)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range turns {
				want := fmt.Sprintf("%d/%d", w, i)
				path := filepath.Join(dir, strconv.Itoa(w))
				if err := c.WriteFile(ctx, path, []byte(want)); err != nil {
					t.Error(err)
				}
				if data, err := c.ReadFile(ctx, path); err != nil || string(data) != want {
					t.Errorf("read %s, want %s, %v", data, want, err)
				}
				r, err := c.Exec(ctx, bench.Command{Argv: []string{"echo", want}})
				if err != nil || string(r.Stdout) != want+"\n" {
					t.Errorf("echo said %q, want %s, %v", r.Stdout, want, err)
				}
			}
		})
	}
	wg.Wait()
}
