package vm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"vmtb/bench/keep"
	"vmtb/internal/cli/env"
)

// A fakeKeeper plays the keeper of a machine. The machine's guest is this host: its programs and
// its files.
type fakeKeeper struct {
	mu    sync.Mutex
	ready bool     // the guest's agent is ready
	asked []string // operations so far
	tar   []byte   // if not nil, the output of the guest's tar
}

// playKeeper makes a machine of this name in the state of e, and plays its keeper.
func playKeeper(t *testing.T, e *env.Env, name string, ready bool) *fakeKeeper {
	t.Helper()
	dir := filepath.Join(e.State.Machines.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(
		filepath.Join(dir, "machine.json"), fmt.Appendf(nil, `{"name": %q}`, name), 0o600,
	); err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "control"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	k := &fakeKeeper{ready: ready}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go k.answer(conn)
		}
	}()
	return k
}

// said returns the received operations in order.
func (k *fakeKeeper) said() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.asked, " ")
}

func (k *fakeKeeper) answer(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	var q struct {
		Operation string
		Args      json.RawMessage
	}
	line, err := r.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &q) != nil {
		return // the client only checked whether a keeper listens
	}
	k.mu.Lock()
	k.asked = append(k.asked, q.Operation)
	k.mu.Unlock()
	out := &messages{to: json.NewEncoder(conn)}
	result, err := k.do(q.Operation, q.Args, &pieces{from: r}, out)
	if err != nil {
		_ = out.Encode(map[string]any{"error": keep.Error{Fault: "guest", Text: err.Error()}})
		return
	}
	_ = out.Encode(map[string]any{"result": result})
}

func (k *fakeKeeper) do(operation string, args json.RawMessage, in io.Reader, out *messages) (any, error) {
	switch operation {
	case "info":
		k.mu.Lock()
		defer k.mu.Unlock()
		return map[string]any{"state": map[string]any{"state": "running", "agent": k.ready, "boot": 3e9}}, nil
	case "ready":
		k.mu.Lock()
		defer k.mu.Unlock()
		k.ready = true
		return struct{}{}, nil
	case "shell":
		return struct{}{}, nil
	case "read", "write":
		var path string
		if err := json.Unmarshal(args, &path); err != nil {
			return nil, err
		}
		if operation == "read" {
			f, err := os.Open(path)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			_, err = io.Copy(sender{out, "stdout"}, f)
			return struct{}{}, err
		}
		f, err := os.Create(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		_, err = io.Copy(f, in)
		return struct{}{}, err
	case "exec":
		if k.tar != nil && bytes.Contains(args, []byte(`["tar"`)) {
			_, err := sender{out, "stdout"}.Write(k.tar)
			return struct{}{}, err
		}
		return runHere(args, sender{out, "stdout"}, sender{out, "stderr"})
	}
	return nil, fmt.Errorf("operation %s is not played", operation)
}

func runHere(args json.RawMessage, stdout, stderr io.Writer) (any, error) {
	var q struct{ Command struct{ Argv []string } }
	if err := json.Unmarshal(args, &q); err != nil {
		return nil, err
	}
	cmd := exec.Command(q.Command.Argv[0], q.Command.Argv[1:]...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		err = nil
	}
	return map[string]any{"ExitCode": cmd.ProcessState.ExitCode()}, err
}

// messages sends to one client. A command's two outputs may send at the same time.
type messages struct {
	mu sync.Mutex
	to *json.Encoder
}

func (m *messages) Encode(message any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.to.Encode(message)
}

// A sender sends each Write as a message.
type sender struct {
	to    *messages
	field string
}

func (s sender) Write(b []byte) (int, error) {
	return len(b), s.to.Encode(map[string][]byte{s.field: b})
}

// A pieces is the input of an operation: pieces with their length before them.
type pieces struct {
	from *bufio.Reader
	left uint32
	over bool
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.left == 0 && !p.over {
		var size [4]byte
		if _, err := io.ReadFull(p.from, size[:]); err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		p.left = binary.BigEndian.Uint32(size[:])
		p.over = p.left == 0
	}
	if p.over {
		return 0, io.EOF
	}
	n, err := p.from.Read(b[:min(len(b), int(p.left))])
	p.left -= uint32(n)
	return n, err
}

// newEnv returns the environment of a command whose machines are a test's fakes.
func newEnv(t *testing.T) (e *env.Env, said *bytes.Buffer) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vm") // short: the path of a unix socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	said = &bytes.Buffer{}
	e = &env.Env{In: os.Stdin, Out: said, Err: said}
	e.State.Machines.Dir = dir
	return e, said
}
