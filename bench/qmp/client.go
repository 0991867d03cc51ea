package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Options configures a [Client]. The zero value is usable.
type Options struct {
	// Transcript gets every line in and out as JSONL: {"t": time, "dir": "in" or "out", "line":
	// message}. Lines of more than 1 MiB are shortened. Its own goroutine writes it: if the writer
	// is slow or fails, only transcript lines are lost.
	Transcript io.Writer

	// GreetingTimeout limits the wait for QEMU's greeting and the negotiation. 0 means 30 s times
	// Scale. With VFIO devices QEMU maps the guest's memory first, so allow more time for each GiB.
	GreetingTimeout time.Duration

	// Scale multiplies the deadlines of commands; 0 means 1. The deadlines are 10 s for queries, an
	// hour for commands that save, load or move a machine's state, and 120 s for all others.
	Scale float64
}

// A Version is a version of QEMU.
type Version struct {
	Major, Minor, Micro int
	Package             string // the distribution's package name, or ""
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro) }

// A Client is a connection to a QEMU in command mode. Its methods may be called from several
// goroutines at once.
type Client struct {
	lines   *Lines
	opts    Options
	version Version

	greeting chan greeting // has room for one

	mu    sync.Mutex
	subs  map[*Subscription]struct{}
	ended error // set when no more events follow
}

type greeting struct {
	Version struct {
		QEMU    Version
		Package string
	}
	Capabilities []string
}

// Dial connects to the monitor socket at path. See [New].
func Dial(ctx context.Context, path string, o Options) (*Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return New(ctx, conn, o)
}

// New returns a client that owns conn, after QEMU's greeting and the negotiation. QEMU serves one
// client per monitor: a second one gets the greeting after the first has disconnected.
func New(ctx context.Context, conn net.Conn, o Options) (*Client, error) {
	c := &Client{opts: o, greeting: make(chan greeting, 1), subs: map[*Subscription]struct{}{}}
	c.lines = NewLines(conn, LinesOptions{Transcript: o.Transcript, Stray: c.stray})
	go c.endEvents()
	if err := c.negotiate(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) negotiate(ctx context.Context) error {
	timeout := c.opts.GreetingTimeout
	if timeout == 0 {
		timeout = scale(30*time.Second, c.opts.Scale)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	hello := &Call{cmd: "greeting", sent: time.Now()}
	var g greeting
	select {
	case g = <-c.greeting:
	case <-ctx.Done():
		return hello.failed(ctx, ctx.Err())
	case <-c.Done():
		return hello.failed(ctx, c.Err())
	}
	c.version = g.Version.QEMU
	c.version.Package = g.Version.Package
	var args any
	if slices.Contains(g.Capabilities, "oob") {
		args = map[string]any{"enable": []string{"oob"}}
	}
	return c.lines.Execute(ctx, timeout, Request{Cmd: "qmp_capabilities", Args: args}, nil)
}

// Execute runs a command. args is marshalled (nil for none). The reply is unmarshalled into ret,
// unless that is nil. Execute ends when ctx ends or at the command's own deadline (see [Options]),
// whichever is first.
func (c *Client) Execute(ctx context.Context, cmd string, args, ret any) error {
	return c.lines.Execute(ctx, c.deadline(cmd), Request{Cmd: cmd, Args: args}, ret)
}

// stray handles lines that answer no request: the greeting and events. Only the reader calls it.
func (c *Client) stray(line []byte) error {
	var m struct {
		QMP       *greeting
		ID        any
		Error     *Error
		Event     string
		Data      json.RawMessage
		Timestamp struct{ Seconds, Microseconds int64 }
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return fmt.Errorf("not a QMP message: %w: %.100q", err, line)
	}
	switch {
	case m.QMP != nil:
		select {
		case c.greeting <- *m.QMP:
		default: // once is enough
		}
	case m.Event != "":
		at := time.UnixMicro(m.Timestamp.Seconds*1e6 + m.Timestamp.Microseconds)
		if m.Timestamp.Seconds <= 0 { // QEMU says -1 when it has no clock
			at = time.Now()
		}
		c.publish(Event{Name: m.Event, Data: m.Data, Time: at})
	case m.Error != nil && m.ID == nil: // QEMU could not parse our request
		return errors.New("QEMU did not understand a request: " + m.Error.Desc)
	}
	return nil
}

// Version returns the version of the connected QEMU.
func (c *Client) Version() Version { return c.version }

// Done returns a channel that is closed when the connection, and so QEMU, has ended: see
// [Client.Err].
func (c *Client) Done() <-chan struct{} { return c.lines.Done() }

// Err returns nil while the connection is open, and then an error matching [ErrClosed].
func (c *Client) Err() error { return c.lines.Err() }

// Close closes the connection. QEMU keeps running. When Close returns, the transcript is written,
// unless its writer took more than 2 s.
func (c *Client) Close() error { return c.lines.Close() }
