package qmp_test

import (
	"bytes"
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

	"github.com/google/go-cmp/cmp"

	"vmtb/bench/qmp"
	"vmtb/internal/fake/fakeqmp"
)

// connect returns a negotiated client and its peer. Inside a synctest bubble all waits use fake
// time.
func connect(t testing.TB, o qmp.Options) (*qmp.Client, *fakeqmp.Peer) {
	t.Helper()
	peer, conn := fakeqmp.Pipe()
	failed := make(chan error, 1)
	go func() { failed <- peer.Negotiate() }()
	c, err := qmp.New(t.Context(), conn, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, peer
}

// socketPair returns a connection through the kernel, with the kernel's buffers.
func socketPair(t testing.TB) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = server.Close(), client.Close() })
	return server, client
}

func TestNegotiation(t *testing.T) {
	const plain = `{"QMP": {"version": {"qemu": {"micro": 1, "minor": 2, "major": 7}, "package": ""}, ` +
		`"capabilities": [], "new": 1}, "x": {}}`
	for name, test := range map[string]struct{ first, wantArgs, wantVersion string }{
		"oob":    {fakeqmp.Greeting + "\r\n", `{"enable":["oob"]}`, "10.0.2"},
		"no oob": {plain + "\n", ``, "7.2.1"},
		"event first": {
			`{"event": "RESUME", "timestamp": {"seconds": -1, "microseconds": -1}}` + "\n" + plain + "\n", ``, "7.2.1",
		},
		"strange first": {
			"\r\n" + `{"return": {}, "id": "someone's"}` + "\n" + `{"news": true}` + "\n" + plain + "\n", ``, "7.2.1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			peer, conn := fakeqmp.Pipe()
			var got fakeqmp.Request
			go func() {
				_ = peer.Send(test.first)
				got, _ = peer.Next()
				_ = peer.Return(got, nil)
			}()
			c, err := qmp.New(t.Context(), conn, qmp.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got.Cmd != "qmp_capabilities" || string(got.Args) != test.wantArgs {
				t.Errorf("negotiated with %s %s", got.Cmd, got.Args)
			}
			if c.Version().String() != test.wantVersion {
				t.Errorf("version %s, want %s", c.Version(), test.wantVersion)
			}
		})
	}
}

func TestNegotiationFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, conn := fakeqmp.Pipe()
		began := time.Now()
		_, err := qmp.New(t.Context(), conn, qmp.Options{Scale: 2})
		var timeout *qmp.TimeoutError
		if !errors.As(err, &timeout) || timeout.Cmd != "greeting" || time.Since(began) != time.Minute {
			t.Errorf("silence: %v after %v", err, time.Since(began))
		}
		if _, err := peer.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("the connection is still open: %v", err)
		}

		peer, conn = fakeqmp.Pipe()
		_ = peer.Conn.Close()
		if _, err := qmp.New(t.Context(), conn, qmp.Options{}); !errors.Is(err, qmp.ErrClosed) ||
			!errors.Is(err, io.EOF) {
			t.Errorf("end of file: %v", err)
		}

		_, conn = fakeqmp.Pipe()
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("QEMU has ended")
		cancel(why)
		if _, err := qmp.New(ctx, conn, qmp.Options{}); !errors.Is(err, why) {
			t.Errorf("cancelled: %v", err)
		}

		peer, conn = fakeqmp.Pipe()
		go func() {
			_ = peer.Send(fakeqmp.Greeting + "\n")
			r, _ := peer.Next()
			_ = peer.Fail(r, fakeqmp.Failure{Class: "GenericError", Desc: "no"})
		}()
		var refusal *qmp.Error
		if _, err := qmp.New(t.Context(), conn, qmp.Options{}); !errors.As(err, &refusal) {
			t.Errorf("refused: %v", err)
		}
	})
}

func TestDial(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := qmp.Dial(t.Context(), path, qmp.Options{}); err == nil {
		t.Error("dialled a socket that is not there")
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			_ = fakeqmp.New(conn).Negotiate()
		}
	}()
	c, err := qmp.Dial(t.Context(), path, qmp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if _, open := <-c.Done(); open || !errors.Is(c.Err(), qmp.ErrClosed) {
		t.Errorf("after Close: %v", c.Err())
	}
}

func TestExecuteErrors(t *testing.T) {
	c, peer := connect(t, qmp.Options{})
	go peer.Serve(func(r fakeqmp.Request) (any, error) {
		if r.Cmd == "number" {
			return 7, nil
		}
		return nil, fakeqmp.Failure{Class: "DeviceNotFound", Desc: "Device 'x' not found"}
	})
	err := c.Execute(t.Context(), "device_del", map[string]string{"id": "x"}, nil)
	want := &qmp.Error{Class: "DeviceNotFound", Desc: "Device 'x' not found", Cmd: "device_del"}
	var got *qmp.Error
	if !errors.As(err, &got) || !cmp.Equal(got, want) || err.Error() != "device_del: Device 'x' not found" {
		t.Errorf("got %v", err)
	}
	var text string
	if err := c.Execute(t.Context(), "number", nil, &text); err == nil {
		t.Error("a number was taken for a string")
	}
	if err := c.Execute(t.Context(), "bad", make(chan int), nil); err == nil {
		t.Error("a channel was sent")
	}
	var n int
	if err := c.Execute(t.Context(), "number", nil, &n); err != nil || n != 7 {
		t.Errorf("%d, %v", n, err)
	}
}

// A reply that is late, a duplicate or without a caller is not taken for another one.
func TestRepliesAreMatchedByID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := connect(t, qmp.Options{})
		go func() {
			late, _ := peer.Next()
			first, _ := peer.Next()
			_ = peer.Return(late, "late")
			_ = peer.Send(
				`{"return": "unknown", "id": "42"}` + "\n" + `{"return": "none"}` + "\n" +
					`{"return": "number", "id": 1}` + "\n",
			)
			_ = peer.Send(`{"error": {"class": "GenericError", "desc": "to somebody else"}, "id": "43"}` + "\n")
			second, _ := peer.Next()
			_ = peer.Return(second, "second")
			_ = peer.Return(second, "double")
			_ = peer.Return(first, "first")
		}()
		began := time.Now()
		err := c.Execute(t.Context(), "query-late", nil, nil)
		var timeout *qmp.TimeoutError
		if !errors.As(err, &timeout) || timeout.Cmd != "query-late" || timeout.Waited != 10*time.Second ||
			time.Since(began) != timeout.Waited {
			t.Fatalf("got %v after %v", err, time.Since(began))
		}
		if !errors.Is(err, context.DeadlineExceeded) || !timeout.Timeout() {
			t.Error("a TimeoutError is no deadline")
		}
		var first, second string
		var wg sync.WaitGroup
		wg.Go(func() { err = c.Execute(t.Context(), "query-first", nil, &first) })
		synctest.Wait()
		if err := c.Execute(t.Context(), "query-second", nil, &second); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if err != nil || first != "first" || second != "second" {
			t.Errorf("%q %q %v", first, second, err)
		}
	})
}

func TestDeadlinesByClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := connect(t, qmp.Options{Scale: 3})
		go peer.Serve(func(fakeqmp.Request) (any, error) { return nil, fakeqmp.ErrSilence })
		for cmd, want := range map[string]time.Duration{
			"query-status": 30 * time.Second, "job-dismiss": 30 * time.Second,
			"device_add": 6 * time.Minute, "cont": 6 * time.Minute,
			"snapshot-save": 3 * time.Hour, "migrate-incoming": 3 * time.Hour,
		} {
			began := time.Now()
			if err := c.Execute(t.Context(), cmd, nil, nil); !errors.Is(err, context.DeadlineExceeded) ||
				time.Since(began) != want {
				t.Errorf("%s: %v after %v, want %v", cmd, err, time.Since(began), want)
			}
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("the caller's"))
		defer cancel()
		if err := c.Execute(ctx, "query-status", nil, nil); !errors.As(err, new(*qmp.TimeoutError)) {
			t.Errorf("the caller's deadline: %v", err)
		}
	})
}

func TestTimeoutError(t *testing.T) {
	for waited, want := range map[time.Duration]string{
		1500*time.Millisecond + 123456: "cont: no answer in 1.5 s",
		10 * time.Second:               "cont: no answer in 10 s",
		6 * time.Minute:                "cont: no answer in 6 min",
		3 * time.Hour:                  "cont: no answer in 3 h",
	} {
		if got := (&qmp.TimeoutError{Cmd: "cont", Waited: waited}).Error(); got != want {
			t.Errorf("%v: %q, want %q", waited, got, want)
		}
	}
}

func TestProtocolFailures(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"error without id": `{"error": {"class": "GenericError", "desc": "JSON parse error"}}`,
		"garbage":          `\x00\x01 what?`,
		"half":             `{"return": {`,
		"no object":        `[1, 2]`,
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := connect(t, qmp.Options{})
			go func() {
				_, _ = peer.Next()
				_ = peer.Send(line + "\n")
			}()
			err := c.Execute(t.Context(), "stop", nil, nil)
			if !errors.Is(err, qmp.ErrClosed) ||
				errors.Unwrap(c.Err()) != nil && c.Err().Error() == qmp.ErrClosed.Error() {
				t.Errorf("got %v", err)
			}
			if again := c.Execute(t.Context(), "stop", nil, nil); !errors.Is(again, qmp.ErrClosed) {
				t.Errorf("afterwards: %v", again)
			}
		})
	}
}

func TestLongReplies(t *testing.T) {
	for _, n := range []int{4096, 64<<10 - 1, 64 << 10, 64<<10 + 1, 236 << 10, 4 << 20} {
		if got, err := longReply(t, n); err != nil || got != "last" {
			t.Fatalf("a line of %d bytes: got %q, %v", n, got, err)
		}
	}
}

// longReply asks a server whose last line has n bytes.
func longReply(t *testing.T, n int) (got string, err error) {
	server, conn := socketPair(t)
	go func() {
		peer := fakeqmp.New(server)
		_ = peer.Negotiate()
		r, _ := peer.Next()
		head, tail := `{"return": "last", "x": "`, fmt.Sprintf(`", "id": %s}`+"\n", r.ID)
		_ = peer.Send(head + strings.Repeat("x", n-len(head)-len(tail)) + tail)
	}()
	c, err := qmp.New(t.Context(), conn, qmp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Execute(t.Context(), "get", nil, &got)
	return got, err
}

// session is all that a server sends to a client that asks "query-a" and then waits for an event.
// %s is the id.
var session = []string{
	`{"event": "EARLY"}` + "\n" + fakeqmp.Greeting + "\r\n",
	`{"return": {}, "id": %s}` + "\r\n",
	`{"event": "ONE", "data": {"x": 1}}` + "\r\n" + `{"return": {"value": "héé"}, "id": %s}` + "\r\n" +
		`{"event": "TWO"}` + "\n",
}

// play runs the session with a server that stops after n bytes, in pieces of the given size.
func play(t *testing.T, n, piece int) (reply string, events []string, err error) {
	peer, conn := fakeqmp.Pipe()
	go func() {
		defer peer.Conn.Close()
		left := n
		for i, text := range session {
			if i > 0 {
				r, err := peer.Next()
				if err != nil {
					return
				}
				text = fmt.Sprintf(text, r.ID)
			}
			text = text[:min(len(text), left)]
			left -= len(text)
			for len(text) > 0 {
				part := text[:min(piece, len(text))]
				text = text[len(part):]
				if peer.Send(part) != nil {
					return
				}
			}
			if left == 0 {
				return
			}
		}
	}()
	c, err := qmp.New(t.Context(), conn, qmp.Options{})
	if err != nil {
		return "", nil, err
	}
	defer c.Close()
	sub := c.Subscribe(nil)
	var ret struct{ Value string }
	err = c.Execute(t.Context(), "query-a", nil, &ret)
	for {
		e, end := sub.Next(t.Context())
		if end != nil {
			if !errors.Is(end, qmp.ErrClosed) {
				t.Errorf("after %d bytes the events end with %v", n, end)
			}
			return ret.Value, events, err
		}
		events = append(events, e.Name)
	}
}

// If the connection ends after any byte, the client returns ErrClosed at once, and delivers only
// complete messages.
func TestEndAtEveryByte(t *testing.T) {
	whole := 0
	for sawAll := false; !sawAll; whole++ {
		reply, events, err := play(t, whole, 1<<20)
		sawAll = len(events) == 2
		switch {
		case err == nil && reply != "héé", err != nil && reply != "":
			t.Fatalf("after %d bytes: reply %q, %v", whole, reply, err)
		case err != nil && !errors.Is(err, qmp.ErrClosed):
			t.Fatalf("after %d bytes: %v", whole, err)
		case whole > 1000:
			t.Fatal("the session never became whole")
		}
	}
	if whole < 250 {
		t.Errorf("only %d prefixes were tried", whole)
	}
}

func TestTornLines(t *testing.T) {
	for piece := 1; piece < 40; piece++ {
		reply, events, err := play(t, 1000, piece)
		if err != nil || reply != "héé" || !cmp.Equal(events, []string{"ONE", "TWO"}) {
			t.Fatalf("in pieces of %d: %q, %q, %v", piece, reply, events, err)
		}
	}
}

// A request that nobody reads gives a TimeoutError. A partly read one makes the connection
// unusable.
func TestWriteThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := connect(t, qmp.Options{})
		if err := c.Execute(t.Context(), "query-status", nil, nil); !errors.As(err, new(*qmp.TimeoutError)) ||
			c.Err() != nil {
			t.Fatalf("unread: %v, %v", err, c.Err())
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, _ = peer.Conn.Read(make([]byte, 5))
			cancel()
		}()
		if err := c.Execute(ctx, "query-status", nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("half read: %v", err)
		}
		if !errors.Is(c.Err(), qmp.ErrClosed) {
			t.Errorf("half read: the connection is %v", c.Err())
		}
	})
}

func TestWriteToClosed(t *testing.T) {
	c, peer := connect(t, qmp.Options{})
	sub := c.Subscribe(nil)
	_ = peer.Conn.Close()
	if err := c.Execute(t.Context(), "quit", nil, nil); !errors.Is(err, qmp.ErrClosed) {
		t.Errorf("got %v", err)
	}
	for _, s := range []*qmp.Subscription{sub, c.Subscribe(nil)} {
		if _, err := s.Next(t.Context()); !errors.Is(err, qmp.ErrClosed) {
			t.Errorf("got %v", err)
		}
		s.Close()
	}
}

// With many goroutines, replies out of order, floods of events and subscribers that never read, no
// message is lost or mixed up.
func TestLoad(t *testing.T) {
	t.Parallel()
	const workers, queries = 64, 50
	server, conn := socketPair(t)
	peer := fakeqmp.New(server)
	go serveInDisorder(peer)
	c, err := qmp.New(t.Context(), conn, qmp.Options{Transcript: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	undrained := []*qmp.Subscription{c.Subscribe(nil), c.Subscribe(func(e qmp.Event) bool { return e.Name == "E" })}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for q := range queries {
				want, got := fmt.Sprintf("%d/%d", w, q), ""
				if err := c.Execute(t.Context(), "echo", want, &got); err != nil || got != want {
					t.Errorf("asked %s, got %s, %v", want, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	_ = c.Close()
	for _, s := range undrained {
		for n := 0; ; n++ {
			e, err := s.Next(t.Context())
			if err != nil {
				if n != workers*queries {
					t.Errorf("%d events were kept", n)
				}
				break
			}
			if string(e.Data) != fmt.Sprintf(`{"n":%d}`, n) {
				t.Fatalf("event %d is %s", n, e.Data)
			}
		}
	}
}

// serveInDisorder echoes requests from several goroutines, with an event before each reply.
func serveInDisorder(peer *fakeqmp.Peer) {
	_ = peer.Negotiate()
	requests := make(chan fakeqmp.Request)
	defer close(requests)
	for range 4 {
		go func() {
			for r := range requests {
				_ = peer.Return(r, r.Args)
			}
		}()
	}
	for n := 0; ; n++ {
		r, err := peer.Next()
		if err != nil {
			return
		}
		_ = peer.Event("E", map[string]int{"n": n})
		requests <- r
	}
}

func TestSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := connect(t, qmp.Options{})
		stops := c.Subscribe(func(e qmp.Event) bool { return e.Name == "STOP" })
		all := c.Subscribe(nil)
		_ = peer.Event("STOP", nil)
		_ = peer.Event("RESUME", map[string]int{"x": 1})
		_ = peer.Send(`{"event": "RTC", "timestamp": {"seconds": -1, "microseconds": -1}}` + "\n")
		synctest.Wait()
		var names []string
		for range 3 {
			e, err := all.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, e.Name)
			if e.Name == "RTC" && !e.Time.Equal(time.Now()) ||
				e.Name == "STOP" && e.Time.UnixMicro() != 1700000000000001 {
				t.Errorf("%s at %v", e.Name, e.Time)
			}
		}
		if want := []string{"STOP", "RESUME", "RTC"}; !cmp.Equal(names, want) {
			t.Error(cmp.Diff(want, names))
		}
		if e, err := stops.Next(t.Context()); err != nil || e.Name != "STOP" {
			t.Errorf("%v, %v", e, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := stops.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no event: %v", err)
		}
		var wg sync.WaitGroup
		for range 3 { // each of several waiters learns of the end
			wg.Go(func() {
				if _, err := stops.Next(t.Context()); !errors.Is(err, qmp.ErrClosed) {
					t.Errorf("closed: %v", err)
				}
			})
		}
		synctest.Wait()
		stops.Close()
		wg.Wait()
	})
}

func TestTranscript(t *testing.T) {
	var log bytes.Buffer
	c, peer := connect(t, qmp.Options{Transcript: &log})
	go func() {
		r, _ := peer.Next()
		_ = peer.Send("\xff" + `{"return": "` + strings.Repeat("x", 2<<20) + `"}` + "\n")
		_ = peer.Return(r, nil)
		_ = peer.Send(`{"half`)
		_ = peer.Conn.Close()
	}()
	if err := c.Execute(t.Context(), "stop", nil, nil); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	_ = c.Close()
	var got []string
	for line := range bytes.Lines(log.Bytes()) {
		var e struct {
			T     time.Time
			Dir   string
			Line  json.RawMessage
			Bytes int
		}
		if err := json.Unmarshal(line, &e); err != nil || time.Since(e.T) > time.Minute {
			t.Fatalf("%s: %v", line, err)
		}
		got = append(got, fmt.Sprintf("%s %.12s %d", e.Dir, e.Line, e.Bytes))
	}
	want := []string{
		`in {"QMP":{"ver 0`, `out {"execute":" 0`, `in {"id":"` + got[2][10:12], `out {"execute":" 0`,
		"in \"\\ufffd{\\\"re 2097167", `in {"id":"` + got[5][10:12], `in "{\"half" 0`,
	}
	for i := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("line %d of %q: want %q", i, got, want[i])
		}
	}
}

// A writer of the transcript that fails or never returns does not disturb the client.
func TestTranscriptThatFails(t *testing.T) {
	read, write := io.Pipe() // a write blocks for ever
	defer read.Close()
	for _, w := range []io.Writer{write, failing{}} {
		server, conn := socketPair(t)
		peer := fakeqmp.New(server)
		go func() {
			_ = peer.Negotiate()
			_ = peer.Serve(func(r fakeqmp.Request) (any, error) { return r.Args, nil })
		}()
		c, err := qmp.New(t.Context(), conn, qmp.Options{Transcript: w})
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			if err := c.Execute(t.Context(), "echo", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		_ = server.Close()
		<-c.Done()
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }
