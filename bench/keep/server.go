package keep

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"vmtb/bench"
)

// A call is one request to a keeper.
type call struct {
	args json.RawMessage
	in   io.Reader // the operation's input, as it comes

	mu    sync.Mutex
	lines *json.Encoder
	flush func() error
}

// send sends a message to the client. Its error is for a client that has gone.
func (c *call) send(m message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.lines.Encode(m); err != nil {
		return err
	}
	return c.flush()
}

// progress tells the client what is being done.
func (c *call) progress(format string, args ...any) {
	_ = c.send(message{Progress: fmt.Sprintf(format, args...)}) // one that has gone is seen by its context
}

func (c *call) stdout() io.Writer {
	return writer(func(b []byte) error { return c.send(message{Stdout: b}) })
}

func (c *call) stderr() io.Writer {
	return writer(func(b []byte) error { return c.send(message{Stderr: b}) })
}

// A writer sends what is written as messages.
type writer func([]byte) error

func (w writer) Write(b []byte) (int, error) {
	if err := w(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// An operation does what one kind of request asks for.
type operation func(ctx context.Context, c *call) (result any, err error)

// with makes an operation of a function that takes its arguments unmarshalled.
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

// handler answers requests for operations; the package comment says how.
func handler(operations map[string]operation) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		do, ok := operations[name]
		if !ok || r.Method != http.MethodPost {
			do = func(context.Context, *call) (any, error) {
				return nil, &bench.UsageError{Err: fmt.Errorf("%s %q is nothing that a keeper does", r.Method, name), Advice: "is vmtb of another version than the keeper?"}
			}
		}
		control := http.NewResponseController(w)
		c := &call{args: json.RawMessage(r.URL.Query().Get("args")), in: r.Body, lines: json.NewEncoder(w), flush: control.Flush}
		err := control.EnableFullDuplex()
		var result any
		if err == nil {
			result, err = do(r.Context(), c)
		}
		_ = c.send(last(result, err)) // there may be nobody to tell any more
	})
}

// last is the message with which an answer ends.
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
