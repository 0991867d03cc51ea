package keep

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"vmtb/bench"
)

func TestReceive(t *testing.T) {
	tests := []struct{ name, answer, result, out, errs, progress, err string }{
		{name: "result", answer: `{"result":{"a":1}}`, result: `{"a":1}`},
		{
			name: "output first",
			answer: `{"stdout":"aGkK"}` + "\n" + `{"stderr":"b3VjaA=="}` + "\n" + `{"progress":"half"}` + "\n" +
				`{"result":7}`, result: "7", out: "hi\n", errs: "ouch", progress: "half",
		},
		{
			name: "error", answer: `{"stdout":"aGkK"}` + "\n" + `{"error":{"fault":"guest","text":"no"}}`, out: "hi\n",
			err: "no",
		},
		{
			name: "cut off", answer: `{"stdout":"aGkK"}`, out: "hi\n",
			err: "the keeper closed the connection before it answered",
		},
		{name: "nothing", err: "the keeper closed the connection before it answered"},
		{name: "torn", answer: `{"result":`, err: `a keeper's message "{\"result\":": unexpected end of JSON input`},
		{
			name: "not of the shape", answer: `{"stdout":7}`,
			err: `a keeper's message "{\"stdout\":7}": json: cannot unmarshal number into Go struct field ` +
				`message.stdout of type []uint8`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			var progress string
			var result json.RawMessage
			err := receive(strings.NewReader(tt.answer), Output{&out, &errs, func(s string) { progress += s }}, &result)
			if fmt.Sprint(err) != tt.err && (err != nil || tt.err != "") {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if string(result) != tt.result || out.String() != tt.out || errs.String() != tt.errs ||
				progress != tt.progress {
				t.Errorf("got result %s, output %q, %q, progress %q", result, out.String(), errs.String(), progress)
			}
		})
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte(`{"stdout":"aGkK"}` + "\n" + `{"result":{}}`))
	f.Add([]byte(`{"error":{"fault":"guest","text":"no"}}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		var result any
		err := receive(bytes.NewReader(answer), Output{Stdout: io.Discard, Progress: func(string) {}}, &result)
		if err == nil && !bytes.Contains(answer, []byte(`result`)) && !bytes.Contains(answer, []byte(`\u`)) &&
			!bytes.Contains(bytes.ToLower(answer), []byte("result")) {
			t.Errorf("a result out of %q", answer)
		}
	})
}

// An error has the same kind and text at both ends.
func TestErrors(t *testing.T) {
	no := errors.New("no")
	kinds := func(err error) (is [4]bool) {
		_, is[0] = errors.AsType[*bench.UsageError](err)
		_, is[1] = errors.AsType[*bench.GuestError](err)
		_, is[2] = errors.AsType[*bench.HostError](err)
		_, is[3] = errors.AsType[*bench.InfraError](err)
		return is
	}
	for _, err := range []error{
		&bench.UsageError{Err: no, Advice: "try"}, &bench.GuestError{Machine: "vm0", Op: "boot", Err: no},
		&bench.HostError{Op: "write", Noun: "/sys/x", Err: no},
		&bench.InfraError{Op: "start", Err: no}, fmt.Errorf("wrapped: %w", &bench.UsageError{Err: no}),
	} {
		data, marshalErr := json.Marshal(last(nil, err))
		got := receive(bytes.NewReader(data), Output{}, nil)
		if marshalErr != nil || got == nil || got.Error() != err.Error() || kinds(got) != kinds(err) {
			t.Errorf("%v (%v) came as %v (%v)", err, kinds(err), got, kinds(got))
		}
	}
	start := &bench.StartError{Program: "nosuch", Code: bench.CodeNotFound, Reason: "not found"}
	data, err := json.Marshal(last(nil, &bench.GuestError{Machine: "vm0", Err: start}))
	got := receive(bytes.NewReader(data), Output{}, nil)
	if came, ok := errors.AsType[*bench.StartError](got); err != nil || !ok || *came != *start ||
		got.Error() != "vm0: nosuch: not found" {
		t.Errorf("%v came as %v", start, got)
	}
	if got := last(nil, no); got.Error.Fault != faultInfra {
		t.Errorf("an error of no kind is %+v, want the bench's own", got.Error)
	}
}

// serve answers on the socket of a machine's directory, as a keeper does.
func serve(t *testing.T, operations map[string]operation) *Client {
	t.Helper()
	r := Record{Name: "vm0", Dir: t.TempDir()}
	l, err := listen(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	server := &server{operations: operations}
	server.serve(l)
	t.Cleanup(func() {
		l.Close()
		server.finish(context.Background())
	})
	if life := r.Life(); life != Living {
		t.Errorf("life %v, want %v", life, Living)
	}
	return r.client()
}

func TestClient(t *testing.T) {
	left := make(chan struct{})
	c := serve(t, map[string]operation{
		"shell": func(_ context.Context, c *call) (any, error) { // input and output at the same time
			_, err := io.Copy(c.stdout(), c.in)
			return bench.Result{ExitCode: 3}, err
		},
		"exec": with(func(_ context.Context, c *call, a execArgs) (any, error) {
			in, err := io.ReadAll(c.in)
			fmt.Fprintf(c.stderr(), "%v %s", a.Command.Argv, in)
			return bench.Result{Signal: 9}, err
		}),
		"read": with(func(_ context.Context, _ *call, file string) (any, error) {
			return nil, &bench.GuestError{Machine: "vm0", Op: "read " + file, Err: errors.New("no such file")}
		}),
		"ready": func(ctx context.Context, _ *call) (any, error) {
			<-ctx.Done()
			close(left)
			return nil, ctx.Err()
		},
	})
	ctx := t.Context()

	typed, keyboard := io.Pipe()
	echoed := make(chan string)
	go func() {
		for _, line := range []string{"one\n", "two\n"} {
			if _, err := io.WriteString(keyboard, line); err != nil {
				t.Error(err)
			}
			if got := <-echoed; got != line {
				t.Errorf("the shell wrote %q, want %q", got, line)
			}
		}
		keyboard.Close()
	}()
	r, err := c.Shell(ctx, false, typed, writer(func(b []byte) error { echoed <- string(b); return nil }), nil)
	if err != nil || r.ExitCode != 3 {
		t.Errorf("Shell: %+v, %v", r, err)
	}

	var errs strings.Builder
	r, err = c.Exec(ctx, bench.Command{Argv: []string{"a", "b"}, Stderr: &errs}, strings.NewReader("in"))
	if err != nil || r.Signal != 9 || errs.String() != "[a b] in" {
		t.Errorf("Exec: %+v, %v, %q", r, err, errs.String())
	}
	err = c.ReadFile(ctx, "/x", io.Discard)
	if _, ok := errors.AsType[*bench.GuestError](err); !ok || err.Error() != "vm0: read /x: no such file" {
		t.Errorf("ReadFile: %v", err)
	}
	err = c.Kill(ctx, nil)
	if _, ok := errors.AsType[*bench.UsageError](err); !ok ||
		!strings.Contains(err.Error(), `the keeper has no operation "kill"`) {
		t.Errorf("Kill: %v", err)
	}

	short, cancel := context.WithCancel(ctx)
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := c.WaitReady(short); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitReady: %v", err)
	}
	<-left // the keeper learns that the client is gone
}

// If the keeper is killed during an operation, the client's error names this.
func TestKeeperGone(t *testing.T) {
	r := Record{Name: "vm0", Dir: t.TempDir()}
	if err := r.client().WaitReady(t.Context()); err == nil || !strings.Contains(err.Error(), "its keeper has ended") {
		t.Errorf("got %v", err)
	}
	l, err := listen(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = io.WriteString(conn, "{\"progress\":\"half\"}\n")
		}
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}()
	err = r.client().WaitReady(t.Context())
	if _, ok := errors.AsType[*bench.InfraError](err); !ok || !strings.Contains(err.Error(), "machine vm0: ready: ") ||
		!strings.Contains(err.Error(), "keeper.log") {
		t.Errorf("got %v", err)
	}
}

// If the input breaks off, both sides get an error: the guest must not take a part for the whole.
// The caller gets the error when the operation has ended.
func TestInputCutOff(t *testing.T) {
	saw := make(chan error, 1)
	c := serve(t, map[string]operation{
		"write": with(func(ctx context.Context, c *call, _ string) (any, error) {
			_, err := io.ReadAll(c.in)
			<-ctx.Done()
			time.Sleep(50 * time.Millisecond) // the end takes a while
			saw <- err
			return nil, err
		}),
	})
	broken := errors.New("the disk is broken")
	err := c.WriteFile(t.Context(), "/x", io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("WriteFile: %v, want %v", err, broken)
	}
	select {
	case err := <-saw:
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the keeper read to %v, want %v", err, io.ErrUnexpectedEOF)
		}
	default:
		t.Error("the operation goes on")
	}
}

// A malformed request gets an error as its answer, and the keeper serves the next request.
func TestBadRequest(t *testing.T) {
	c := serve(t, map[string]operation{
		"ready": func(context.Context, *call) (any, error) { return nil, nil },
	}) //nolint:nilnil // no result
	for _, line := range []string{
		"POST /ready HTTP/1.1\r\n\r\n", "null\n", "{\"operation\":\"of another version\"}\n\x00\x00\x00\x00",
		"{}\n\xff\xff\xff\xff",
	} {
		conn, err := dial(t.Context(), c.record.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, line); err != nil {
			t.Fatal(err)
		}
		err = receive(conn, Output{}, nil)
		if _, ok := errors.AsType[*bench.UsageError](err); !ok {
			t.Errorf("%q: %v, want a usage error", line, err)
		}
		conn.Close()
	}
	if err := c.WaitReady(t.Context()); err != nil {
		t.Error(err)
	}
}

// A signalled is a process that counts its signals.
type signalled struct {
	bench.Process
	got []int
}

func (p *signalled) Signal(_ context.Context, sig int) error {
	p.got = append(p.got, sig)
	return os.ErrProcessDone // it may have ended by now
}

// A named command gets its signals while it runs, and none afterwards.
func TestSignal(t *testing.T) {
	k := &keeper{}
	c := serve(t, map[string]operation{"signal": with(k.signal)})
	p, other := &signalled{}, &signalled{}
	forget := k.note("one", p)
	defer k.note("two", other)()
	k.note("", &signalled{})()
	if err := c.Signal(t.Context(), "one", 15); err != nil {
		t.Error(err)
	}
	forget()
	err := c.Signal(t.Context(), "one", 15)
	if !errors.As(err, new(*bench.UsageError)) || len(p.got) != 1 || p.got[0] != 15 || len(other.got) != 0 {
		t.Errorf("after its end: %v, got %v, the other %v", err, p.got, other.got)
	}
}
