package fakeqmp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Greeting is the greeting of QEMU 10.0.2.
const Greeting = `{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "fake"}, ` +
	`"capabilities": ["oob"]}}`

// A Request is a request of the client.
type Request struct {
	Resync bool // the byte 0xFF preceded it
	Cmd    string
	Args   json.RawMessage
	ID     json.RawMessage
}

// Failure is an error of a handler that the peer reports with this class and description.
type Failure struct{ Class, Desc string }

func (f Failure) Error() string { return f.Class + ": " + f.Desc }

// ErrSilence is the error of a handler that does not answer.
var ErrSilence = errors.New("no answer")

// A Peer is the server's end of a connection. Its sending methods may be called from several
// goroutines.
type Peer struct {
	Conn net.Conn

	read *bufio.Reader
	mu   sync.Mutex
}

// Pipe returns the two ends of a connection in memory. A write blocks until the other end reads.
func Pipe() (*Peer, net.Conn) {
	server, client := net.Pipe()
	return New(server), client
}

// New returns a peer at the given end of a connection.
func New(conn net.Conn) *Peer { return &Peer{Conn: conn, read: bufio.NewReader(conn)} }

// Next reads a request. It returns an error for a malformed request, and io.EOF at the end of the
// connection.
func (p *Peer) Next() (Request, error) {
	line, err := p.read.ReadBytes('\n')
	if err != nil {
		return Request{}, err
	}
	at := bytes.LastIndexByte(line, 0xFF)
	var m struct {
		Execute   string
		Arguments json.RawMessage
		ID        json.RawMessage
	}
	if err := json.Unmarshal(line[at+1:], &m); err != nil {
		return Request{Resync: at >= 0}, fmt.Errorf("request %q: %w", line, err)
	}
	return Request{Resync: at >= 0, Cmd: m.Execute, Args: m.Arguments, ID: m.ID}, nil
}

// Send sends text unchanged.
func (p *Peer) Send(text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := io.WriteString(p.Conn, text)
	return err
}

// Return answers r.
func (p *Peer) Return(r Request, value any) error {
	if value == nil {
		value = struct{}{}
	}
	return p.message(map[string]any{"return": value, "id": r.ID})
}

// Fail refuses r.
func (p *Peer) Fail(r Request, f Failure) error {
	return p.message(map[string]any{"error": map[string]any{"class": f.Class, "desc": f.Desc}, "id": r.ID})
}

// Event sends an event; data may be nil.
func (p *Peer) Event(name string, data any) error {
	m := map[string]any{"event": name, "timestamp": map[string]any{"seconds": 1700000000, "microseconds": 1}}
	if data != nil {
		m["data"] = data
	}
	return p.message(m)
}

func (p *Peer) message(m map[string]any) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return p.Send(string(text) + "\r\n")
}

// Negotiate greets the client and answers its first request.
func (p *Peer) Negotiate() error {
	if err := p.Send(Greeting + "\r\n"); err != nil {
		return err
	}
	r, err := p.Next()
	if err != nil {
		return err
	}
	return p.Return(r, nil)
}

// Serve answers requests until the connection ends, one after another like QEMU. handle returns the
// value to return or an error: a [Failure], [ErrSilence], or an error that ends Serve.
func (p *Peer) Serve(handle func(Request) (any, error)) error {
	for {
		r, err := p.Next()
		if err != nil {
			return err
		}
		value, err := handle(r)
		var f Failure
		switch {
		case errors.Is(err, ErrSilence):
			continue
		case errors.As(err, &f):
			err = p.Fail(r, f)
		case err == nil:
			err = p.Return(r, value)
		}
		if err != nil {
			return err
		}
	}
}
