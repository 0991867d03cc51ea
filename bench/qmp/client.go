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

// Options of a [Client]. The zero value is good.
type Options struct {
	// Transcript gets every line in and out as JSONL: {"t": time, "dir": "in" or "out", "line":
	// message}. Lines of more than 1 MiB are shortened. It is written by a goroutine of its own: if
	// it is slow or fails, lines are lost and nothing else.
	Transcript io.Writer

	// GreetingTimeout bounds the wait for QEMU's first words and the negotiation after them; 0 is
	// 30 s times Scale. With VFIO devices QEMU maps the guest's memory first: give it more, by the
	// GiB.
	GreetingTimeout time.Duration

	// Scale multiplies the deadlines of commands: 10 s for queries, an hour for what saves, loads or moves a machine's
	// state, 120 s for all else. 0 is 1.
	Scale float64
}

// A Version is that of QEMU.
type Version struct {
	Major, Minor, Micro int
	Package             string // the distribution's name for it, or ""
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
	ended error // set when there will be no more events
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

// New takes over conn, waits for QEMU's greeting and negotiates. QEMU serves one client a monitor:
// behind another one the greeting only comes when that has left.
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

// Execute runs a command. args is marshalled, nil for none; the reply is unmarshalled into ret
// unless that is nil. It ends with the ctx or at the command's own deadline (see [Options]),
// whichever is first.
func (c *Client) Execute(ctx context.Context, cmd string, args, ret any) error {
	return c.lines.Execute(ctx, c.deadline(cmd), Request{Cmd: cmd, Args: args}, ret)
}

// stray takes what is no reply to us: the greeting and events. It is called by the reader only.
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
	case m.Error != nil && m.ID == nil: // QEMU could not read what we wrote
		return errors.New("QEMU did not understand a request: " + m.Error.Desc)
	}
	return nil
}

// Version is that of the QEMU at the other end.
func (c *Client) Version() Version { return c.version }

// Done is closed when the connection has ended, which is when QEMU has: see [Client.Err].
func (c *Client) Done() <-chan struct{} { return c.lines.Done() }

// Err is nil until the connection has ended, then an error matching [ErrClosed].
func (c *Client) Err() error { return c.lines.Err() }

// Close ends the connection; QEMU goes on. The transcript is written when it returns, or its writer
// took more than 2 s.
func (c *Client) Close() error { return c.lines.Close() }
