package qmp

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// A Call is a request that was sent.
type Call struct {
	lines    *Lines
	id, cmd  string
	sent     time.Time
	answered chan struct{} // closed with the two below
	result   json.RawMessage
	err      *Error
}

// Wait waits for the reply, and unmarshals it into ret, unless that is nil. A [*json.RawMessage]
// gets the reply unchanged. If ctx ends first, Wait may be called again.
func (c *Call) Wait(ctx context.Context, ret any) error {
	select {
	case <-c.answered:
	case <-c.lines.done:
	case <-ctx.Done():
	}
	if !c.Answered() { // a reply counts even if the connection ended after it
		if err := c.lines.Err(); err != nil {
			return fmt.Errorf("%s: %w", c.cmd, err)
		}
		return c.failed(ctx, ctx.Err())
	}
	if c.err != nil {
		return c.err
	}
	switch ret := ret.(type) {
	case nil:
		return nil
	case *json.RawMessage:
		*ret = c.result
		return nil
	}
	if err := json.Unmarshal(c.result, ret); err != nil {
		return fmt.Errorf("%s: reply: %w", c.cmd, err)
	}
	return nil
}

// Answered reports whether the reply has arrived.
func (c *Call) Answered() bool {
	select {
	case <-c.answered:
		return true
	default:
		return false
	}
}

// failed returns err, or the error for the end of ctx.
func (c *Call) failed(ctx context.Context, err error) error {
	switch ctx.Err() {
	case nil:
		return fmt.Errorf("%s: %w", c.cmd, err)
	case context.DeadlineExceeded:
		return &TimeoutError{Cmd: c.cmd, Waited: time.Since(c.sent)}
	default:
		return fmt.Errorf("%s: %w", c.cmd, context.Cause(ctx))
	}
}

// Forget abandons the reply. If it still comes, it is a stray line.
func (c *Call) Forget() {
	c.lines.mu.Lock()
	defer c.lines.mu.Unlock()
	delete(c.lines.pending, c.id)
}
