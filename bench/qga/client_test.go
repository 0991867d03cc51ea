package qga_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/bench/qmp"
	"vmtb/internal/fake/fakeqga"
	"vmtb/internal/fake/fakeqmp"
)

// connect returns a client and its peer. The peer does nothing yet. Inside a synctest bubble all
// waits use fake time.
func connect(t testing.TB, o qga.Options) (*qga.Client, *fakeqmp.Peer) {
	t.Helper()
	peer, conn := fakeqmp.Pipe()
	c := qga.New(conn, o)
	t.Cleanup(func() { _ = c.Close() })
	return c, peer
}

// serve returns a client of an agent that has these commands.
func serve(t testing.TB, commands fakeqga.Commands) *qga.Client {
	t.Helper()
	c, peer := connect(t, qga.Options{})
	go fakeqga.Serve(peer.Conn, commands)
	return c
}

// answer reads requests until one for cmd arrives, and returns it. It answers all syncs before.
func answer(p *fakeqmp.Peer, cmd string) (fakeqmp.Request, error) {
	for {
		r, err := p.Next()
		if err != nil || r.Cmd == cmd {
			return r, err
		}
		if err := fakeqga.Sync(p, r); !errors.Is(err, fakeqmp.ErrSilence) {
			return r, err
		}
	}
}

func isTimeout(err error, cmd string) bool {
	var timeout *qmp.TimeoutError
	return errors.As(err, &timeout) && timeout.Cmd == cmd
}

// The client ignores old data in the channel, whole or partial.
func TestSyncDiscards(t *testing.T) {
	for name, old := range map[string]string{
		"nothing": "",
		"a reply": `{"return": 5, "id": "from-before"}` + "\n",
		"no id": `{"return": 5}` + "\n" + `{"error": {"class": "GenericError", "desc": "JSON parse error"}}` +
			"\n",
		"half":        `{"return": {"exited": tr`,
		"another one": "\xff" + `{"return": 123, "id": "from-before"}` + "\n\xff" + `{"return": 124}` + "\n",
		"noise":       "\x00\x01\xfe[[[{{{\n\n\n\xff\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := connect(t, qga.Options{})
			go func() {
				r, _ := peer.Next()
				if !r.Resync {
					t.Error("the agent was not made to forget")
				}
				_ = peer.Send(old)
				_ = fakeqga.Sync(peer, r)
			}()
			if err := c.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSyncTriesUntilAnswered(t *testing.T) {
	for name, start := range map[string]func(*fakeqmp.Peer){
		"unread": func(p *fakeqmp.Peer) {
			time.Sleep(time.Minute)
			_ = fakeqga.Serve(p.Conn, nil)
		},
		"silent": func(p *fakeqmp.Peer) {
			for began := time.Now(); time.Since(began) < time.Minute; {
				_, _ = p.Next()
			}
			_ = fakeqga.Serve(p.Conn, nil)
		},
		"late": func(p *fakeqmp.Peer) {
			_ = p.Serve(func(r fakeqmp.Request) (any, error) {
				time.Sleep(3 * time.Second) // longer than the first attempts
				return nil, fakeqga.Sync(p, r)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer := connect(t, qga.Options{})
				go start(peer)
				began := time.Now()
				if err := c.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < 3*time.Second || took > 70*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := connect(t, qga.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Sync(ctx); !isTimeout(err, "guest-sync-delimited") ||
			!strings.Contains(err.Error(), "no answer in 1 min") {
			t.Errorf("nobody there: %v", err)
		}
		began := time.Now()
		if err := c.Execute(t.Context(), "guest-ping", nil, nil); !isTimeout(err, "guest-sync-delimited") ||
			time.Since(began) != 10*time.Second {
			t.Errorf("nobody there: %v after %v", err, time.Since(began))
		}
		cause := errors.New("the guest panicked")
		ctx, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { stop(cause) })
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := c.Execute(ctx, "guest-ping", nil, nil); !errors.Is(err, cause) {
					t.Errorf("cancelled: %v", err)
				}
			})
		}
		wg.Wait()

		c = serve(t, fakeqga.Commands{"guest-sync-delimited": func(json.RawMessage) (any, error) {
			return nil, fakeqmp.Failure{
				Class: "CommandNotFound", Desc: "The command guest-sync-delimited has been disabled",
			}
		}})
		if err := c.Sync(t.Context()); !errors.As(err, new(*qga.CommandDisabled)) {
			t.Errorf("forbidden: %v", err)
		}
		c = serve(t, fakeqga.Commands{"guest-sync-delimited": func(json.RawMessage) (any, error) { return 5, nil }})
		if err := c.Sync(t.Context()); err == nil || isTimeout(err, "guest-sync-delimited") {
			t.Errorf("wrong number: %v", err)
		}
		c, peer := connect(t, qga.Options{})
		_ = peer.Conn.Close()
		if err := c.Sync(t.Context()); !errors.Is(err, qmp.ErrClosed) || !errors.Is(c.Err(), qmp.ErrClosed) {
			t.Errorf("end of file: %v", err)
		}
		if _, open := <-c.Done(); open {
			t.Error("not done")
		}
	})
}

func TestDial(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := qga.Dial(t.Context(), path, qga.Options{}); err == nil {
		t.Error("dialled a socket that is not there")
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := qga.Dial(t.Context(), path, qga.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// After a command without an answer the client synchronises. It does not take the late answer for
// the next one.
func TestResyncAfterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := connect(t, qga.Options{Scale: 2})
		requests := make(chan fakeqmp.Request, 10)
		go func() {
			defer close(requests)
			r, _ := answer(peer, "guest-slow")
			again, _ := peer.Next()
			requests <- again
			_ = peer.Return(r, "late")
			_ = fakeqga.Sync(peer, again)
			r, _ = peer.Next()
			requests <- r
			_ = peer.Return(r, "good")
			r, _ = peer.Next()
			requests <- r
			_ = peer.Return(r, "better")
		}()
		began := time.Now()
		if err := c.Execute(t.Context(), "guest-slow", nil, nil); !isTimeout(err, "guest-slow") ||
			time.Since(began) != 20*time.Second {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		for _, want := range []string{"good", "better"} {
			var got string
			if err := c.Execute(t.Context(), "guest-quick", nil, &got); err != nil || got != want {
				t.Errorf("got %q, %v", got, err)
			}
		}
		var seen []string
		for r := range requests {
			seen = append(seen, fmt.Sprint(r.Cmd, r.Resync))
		}
		if fmt.Sprint(seen) != "[guest-sync-delimitedtrue guest-quickfalse guest-quickfalse]" {
			t.Errorf("sent %v", seen)
		}
	})
}

// A partly written request does not end the connection: with the next request, the agent discards
// it.
func TestTornRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := connect(t, qga.Options{})
		go func() {
			r, _ := peer.Next()
			_ = fakeqga.Sync(peer, r)
			_, _ = peer.Conn.Read(make([]byte, 20))
			time.Sleep(time.Minute)
			_ = fakeqga.Serve(peer.Conn, fakeqga.Commands{
				"guest-ping": func(json.RawMessage) (any, error) { return nil, nil },
			})
		}()
		if err := c.Execute(t.Context(), "guest-get-time", nil, nil); !isTimeout(err, "guest-get-time") {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := c.Execute(t.Context(), "guest-ping", nil, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestDisabledCommand(t *testing.T) {
	c := serve(t, fakeqga.Commands{
		"guest-info": func(json.RawMessage) (any, error) {
			return json.RawMessage(`{"version": "7.2.22", "supported_commands": [
				{"name": "guest-exec", "enabled": false, "success-response": true, "new": 1},
				{"name": "guest-shutdown", "enabled": true, "success-response": false}]}`), nil
		},
		"guest-exec": func(json.RawMessage) (any, error) {
			return nil, fakeqmp.Failure{Class: "CommandNotFound", Desc: "Command guest-exec has been disabled"}
		},
	})
	info, err := c.Info(t.Context())
	if err != nil || info.Version != "7.2.22" || len(info.Commands) != 2 || info.Commands[1].Replies {
		t.Errorf("%+v, %v", info, err)
	}
	if err := info.Check("guest-shutdown"); err != nil {
		t.Error(err)
	}
	if err := info.Check("guest-shutdown", "guest-exec"); !errors.As(err, new(*qga.CommandDisabled)) {
		t.Error(err)
	}
	_, execErr := c.Exec(t.Context(), bench.Shell("true"))
	for cmd, err := range map[string]error{
		"guest-exec": execErr, "guest-none": info.Check("guest-none"),
		"guest-get-load": c.Execute(t.Context(), "guest-get-load", nil, nil),
	} {
		var disabled *qga.CommandDisabled
		if !errors.As(err, &disabled) || disabled.Cmd != cmd || !errors.Is(err, bench.ErrNotAvailable) {
			t.Errorf("%s: %v", cmd, err)
		}
	}
}

// Many goroutines cause one synchronisation, and each gets its own reply.
func TestLoad(t *testing.T) {
	const workers, queries = 64, 50
	syncs := 0
	commands := fakeqga.Commands{"guest-echo": func(args json.RawMessage) (any, error) { return args, nil }}
	c, peer := connect(t, qga.Options{Transcript: io.Discard})
	go peer.Serve(func(r fakeqmp.Request) (any, error) {
		if r.Cmd == "guest-echo" {
			return commands[r.Cmd](r.Args)
		}
		syncs++
		return nil, fakeqga.Sync(peer, r)
	})
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for q := range queries {
				want, got := fmt.Sprintf("%d/%d", w, q), ""
				if err := c.Execute(t.Context(), "guest-echo", want, &got); err != nil || got != want {
					t.Errorf("asked %s, got %s, %v", want, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	_ = c.Close()
	if syncs != 1 {
		t.Errorf("%d syncs", syncs)
	}
}

// If the connection ends after any byte, the client returns ErrClosed at once.
func TestEndAtEveryByte(t *testing.T) {
	for n, whole := 0, false; !whole; n++ {
		c, peer := connect(t, qga.Options{})
		go func() {
			defer peer.Conn.Close()
			left := n
			for _, text := range []string{
				`{"error": {"class": "GenericError", "desc": "JSON parse error"}}` + "\n\xff" +
					`{"return": %s, "id": %s}` + "\n",
				`{"return": "yes", "id": %[2]s}` + "\n",
			} {
				r, err := peer.Next()
				if err != nil {
					return
				}
				var args struct{ ID json.Number }
				_ = json.Unmarshal(r.Args, &args)
				text = fmt.Sprintf(text, args.ID, r.ID)
				_ = peer.Send(text[:min(left, len(text))])
				if left -= len(text); left < 0 {
					return
				}
			}
		}()
		var got string
		err := c.Execute(t.Context(), "guest-x", map[string]int{}, &got)
		whole = err == nil && got == "yes"
		if !whole && (!errors.Is(err, qmp.ErrClosed) || got != "") || n > 300 {
			t.Fatalf("after %d bytes: %q, %v", n, got, err)
		}
	}
}

func TestPower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := func(json.RawMessage) (any, error) {
			time.Sleep(time.Second)
			return nil, fakeqmp.Failure{Class: "GenericError", Desc: "child process has failed to shutdown"}
		}
		silent := func(json.RawMessage) (any, error) { return nil, fakeqmp.ErrSilence }

		c := serve(t, fakeqga.Commands{"guest-shutdown": refuse, "guest-suspend-disk": silent})
		if err := c.Shutdown(t.Context(), "powerdown"); !errors.As(err, new(*qmp.Error)) {
			t.Errorf("refused: %v", err)
		}
		if err := suspend(t.Context(), c, "ram"); !errors.As(err, new(*qga.CommandDisabled)) {
			t.Errorf("not offered: %v", err)
		}
		began := time.Now()
		if err := suspend(t.Context(), c, "disk"); err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("silence: %v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := suspend(ctx, c, "disk"); err != nil {
			t.Errorf("ctx: %v", err)
		}
		if err := suspend(ctx, c, "disk"); err == nil {
			t.Error("sent although ctx had ended")
		}

		c, peer := connect(t, qga.Options{})
		go func() {
			_, _ = answer(peer, "guest-shutdown")
			_ = peer.Conn.Close()
		}()
		began = time.Now()
		if err := c.Shutdown(t.Context(), "powerdown"); err != nil || time.Since(began) != 0 {
			t.Errorf("QEMU ended: %v after %v", err, time.Since(began))
		}
		if err := c.Shutdown(t.Context(), "powerdown"); !errors.Is(err, qmp.ErrClosed) {
			t.Errorf("QEMU had ended: %v", err)
		}
	})
}

func suspend(ctx context.Context, c *qga.Client, mode string) error {
	o, err := c.BeginSuspend(ctx, mode)
	if err != nil {
		return err
	}
	return o.Refusal(ctx)
}
