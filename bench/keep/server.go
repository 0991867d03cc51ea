package keep

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"vmtb/bench"
)

// A call is one request to a keeper.
type call struct {
	args json.RawMessage
	in   io.Reader // the operation's input, as it arrives

	mu    sync.Mutex
	lines *json.Encoder
}

// send sends a message to the client. It fails if the client has disconnected.
func (c *call) send(m message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines.Encode(m)
}

// progress sends the client a text about the current step.
func (c *call) progress(format string, args ...any) {
	// The call's context ends if the client has disconnected.
	_ = c.send(message{Progress: fmt.Sprintf(format, args...)})
}

func (c *call) stdout() io.Writer {
	return writer(func(b []byte) error { return c.send(message{Stdout: b}) })
}

func (c *call) stderr() io.Writer {
	return writer(func(b []byte) error { return c.send(message{Stderr: b}) })
}

// A writer sends the data written to it as messages.
type writer func([]byte) error

func (w writer) Write(b []byte) (int, error) {
	if err := w(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// An operation carries out one kind of request.
type operation func(ctx context.Context, c *call) (result any, err error)

// with makes an operation of a function whose arguments are unmarshalled from the request.
func with[T any](do func(ctx context.Context, c *call, args T) (any, error)) operation {
	return func(ctx context.Context, c *call) (any, error) {
		var args T
		if len(c.args) > 0 {
			if err := json.Unmarshal(c.args, &args); err != nil {
				return nil, &bench.UsageError{Err: fmt.Errorf("arguments %s: %w", c.args, err)}
			}
		}
		return do(ctx, c, args)
	}
}

// A server answers requests on a socket, as the package comment describes.
type server struct {
	operations map[string]operation

	mu    sync.Mutex
	conns map[net.Conn]bool
	busy  sync.WaitGroup // the connections, and the goroutine that accepts them
}

// serve starts a goroutine that answers requests until l is closed.
func (s *server) serve(l net.Listener) {
	s.busy.Go(func() { s.accept(l) })
}

func (s *server) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.conns == nil {
			s.conns = map[net.Conn]bool{}
		}
		s.conns[conn] = true
		s.busy.Add(1)
		s.mu.Unlock()
		go func() {
			defer s.busy.Done()
			s.answer(conn)
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
			conn.Close()
		}()
	}
}

// finish waits until all requests are answered. When ctx ends, it ends the others. The caller has
// closed the listener.
func (s *server) finish(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for conn := range s.conns {
			conn.Close()
		}
	})()
	s.busy.Wait()
}

// answer carries out the request of one connection.
func (s *server) answer(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(requestTime))
	buffered := bufio.NewReader(conn)
	q, err := readRequest(buffered)
	if errors.Is(err, io.EOF) {
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	in, input := io.Pipe()
	defer in.Close() // the rest of the input is not needed
	go func() {
		readInput(buffered, input)
		cancel() // the client has disconnected
	}()
	c := &call{args: q.Args, in: in, lines: json.NewEncoder(conn)}
	do, ok := s.operations[q.Operation]
	if !ok {
		do = unknownOperation(q.Operation, err)
	}
	_ = c.send(last(do(ctx, c))) // the client may have disconnected
}

func unknownOperation(name string, err error) operation {
	return func(context.Context, *call) (any, error) {
		if err == nil {
			err = fmt.Errorf("the keeper has no operation %q", name)
		}
		return nil, &bench.UsageError{
			Err:    err,
			Advice: "the keeper may be of another version of vmtb: end the machine, and start it again",
		}
	}
}

// last returns the message that ends an answer.
func last(result any, err error) message {
	if err == nil && result == nil {
		return message{Result: emptyObject}
	}
	var raw json.RawMessage
	if err == nil {
		raw, err = json.Marshal(result)
	}
	if err != nil {
		return message{Error: wireError(err)}
	}
	return message{Result: raw}
}
