package qga

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"vmtb/bench/qmp"
)

const (
	syncCommand = "guest-sync-delimited"

	syncFirst = 500 * time.Millisecond // for the first try of a sync; later tries are longer
	syncLast  = 5 * time.Second
	graceTime = 2 * time.Second // wait for the error reply of commands that have no other reply
	cleanTime = 5 * time.Second // for closing a file or killing a process after ctx has ended
)

// Options configures a [Client]. The zero value is usable.
type Options struct {
	Transcript io.Writer // gets every line in and out: see [qmp.Options]
	Scale      float64   // multiplies the deadlines of commands; 0 means 1
}

// A Client is a connection to the agent of one machine. Its methods may be called from several
// goroutines at once.
type Client struct {
	lines   *qmp.Lines
	scale   float64
	synced  atomic.Bool
	syncing chan struct{} // holds a token while a goroutine synchronises
	turn    chan struct{} // holds a token from a request to its answer: see call
	environ environ
}

// Dial connects to the socket at path. It sends nothing, and succeeds even without an agent.
func Dial(ctx context.Context, path string, o Options) (*Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return New(conn, o), nil
}

// New returns a client that owns conn.
func New(conn net.Conn, o Options) *Client {
	c := &Client{
		scale: o.Scale, syncing: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		environ: environ{asking: make(chan struct{}, 1)},
	}
	if c.scale == 0 {
		c.scale = 1
	}
	c.lines = qmp.NewLines(conn, qmp.LinesOptions{
		Transcript: o.Transcript,
		Stray:      func([]byte) error { return nil }, // late, old or cut-off replies: see Sync
		Resync:     true,
	})
	return c
}

// Sync makes sure that an agent answers on the channel. It retries with short timeouts until an
// agent answers, or ctx or the connection ends. [Client.Execute] calls it when necessary.
func (c *Client) Sync(ctx context.Context) error {
	began := time.Now()
	for try := syncFirst; ; try = min(2*try, syncLast) {
		err := c.trySync(ctx, c.scaled(try))
		switch {
		case err == nil:
			c.synced.Store(true)
			return nil
		case ctx.Err() != nil:
			return gaveUp(ctx, began)
		case !isTimeout(err):
			return err
		}
	}
}

// trySync succeeds when our number comes back. The request and the reply both begin with 0xFF,
// which makes the agent and [qmp.Lines] drop an unfinished message before it.
func (c *Client) trySync(ctx context.Context, timeout time.Duration) error {
	number, back := rand.Int64N(1<<53), int64(-1) //nolint:gosec // to be different from old ones, not secret
	err := c.lines.Execute(ctx, timeout, qmp.Request{
		Cmd: syncCommand, Args: map[string]any{"id": number}, Resync: true,
	}, &back)
	if err == nil && back != number {
		err = fmt.Errorf("%s: sent %d, but the reply has %d", syncCommand, number, back)
	}
	return asDisabled(err)
}

func gaveUp(ctx context.Context, began time.Time) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &qmp.TimeoutError{Cmd: syncCommand, Waited: time.Since(began)}
	}
	return fmt.Errorf("%s: %w", syncCommand, context.Cause(ctx))
}

// ensureSynced synchronises if necessary. One goroutine does it for all.
func (c *Client) ensureSynced(ctx context.Context) error {
	if c.synced.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.deadline(syncCommand))
	defer cancel()
	began := time.Now()
	select {
	case c.syncing <- struct{}{}:
		defer func() { <-c.syncing }()
	case <-ctx.Done():
		return gaveUp(ctx, began)
	}
	if c.synced.Load() {
		return nil
	}
	return c.Sync(ctx)
}

// Execute runs a command of the agent that has a reply. args is marshalled (nil for none). The
// reply is unmarshalled into ret, unless that is nil. Execute ends when ctx ends, or at the
// command's own deadline: 10 s, 30 s for files and processes, 5 minutes for slow commands, times
// Scale. If a sync is needed first, it has its own 10 s.
func (c *Client) Execute(ctx context.Context, cmd string, args, ret any) error {
	call, err := c.send(ctx, cmd, args)
	if err != nil {
		return err
	}
	defer call.Forget()
	return c.await(ctx, call, cmd, ret)
}

// A call is the request in progress. There is only one at a time: data sent to a virtio port while
// the agent is busy can be lost. With QEMU 10.0 and a Linux 6.12 guest, one of eight writes sent
// behind eight opens arrived. The agent answers one request after the other anyway.
type call struct {
	*qmp.Call
	release func() // lets the next request begin; may be called more than once
}

// Forget abandons the answer, and lets the next request begin.
func (k *call) Forget() {
	k.Call.Forget()
	k.release()
}

func (c *Client) send(ctx context.Context, cmd string, args any) (*call, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", cmd, context.Cause(ctx))
	case <-c.Done():
		return nil, c.Err()
	}
	release := sync.OnceFunc(func() { <-c.turn })
	if err := c.ensureSynced(ctx); err != nil { // the former request may have timed out
		release()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.deadline(cmd))
	defer cancel()
	sent, err := c.lines.Send(ctx, qmp.Request{Cmd: cmd, Args: args})
	if err != nil {
		c.synced.Store(false)
		release()
		return nil, err
	}
	return &call{sent, release}, nil
}

func (c *Client) await(ctx context.Context, k *call, cmd string, ret any) error {
	defer k.release() // also without an answer: the next request begins with a sync
	ctx, cancel := context.WithTimeout(ctx, c.deadline(cmd))
	defer cancel()
	err := asDisabled(k.Wait(ctx, ret))
	if !k.Answered() {
		c.synced.Store(false)
	}
	return err
}

func (c *Client) deadline(cmd string) time.Duration {
	switch cmd {
	case "guest-exec", "guest-exec-status", "guest-file-open", "guest-file-read", "guest-file-write",
		"guest-file-seek", "guest-file-flush", "guest-file-close":
		return c.scaled(30 * time.Second)
	case "guest-fsfreeze-freeze", "guest-fsfreeze-freeze-list", "guest-fsfreeze-thaw",
		"guest-fstrim", "guest-get-fsinfo",
		"guest-set-memory-blocks", "guest-set-vcpus":
		return c.scaled(5 * time.Minute)
	}
	return c.scaled(10 * time.Second)
}

func (c *Client) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * c.scale) }

// cleanup returns a context for cleaning up after the caller's context has ended.
func (c *Client) cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), c.scaled(cleanTime))
}

// Done returns a channel that is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.lines.Done() }

// Err returns nil while the connection is open, and then an error matching [qmp.ErrClosed].
func (c *Client) Err() error { return c.lines.Err() }

// Close closes the connection. The agent and the processes that it started keep running.
func (c *Client) Close() error { return c.lines.Close() }
