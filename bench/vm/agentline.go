package vm

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// An agentLine is a connection to the socket of the agent's port that can be made anew under its
// user. QEMU tells a guest's driver whether the host has the port open when that changes, and when
// the driver asks: Linux 7.3 asks after a sleep before it has given QEMU room for the answer
// (virtcons_restore() in drivers/char/virtio_console.c, 7.3.4). The agent reads end of file then,
// for ever, unless the host opens the port anew.
type agentLine struct {
	net.Conn // of the beginning, for all but what follows

	path string

	mu  sync.Mutex // held while it is made anew
	now net.Conn
	end bool
}

func dialAgent(ctx context.Context, path string) (*agentLine, error) {
	conn, err := dialUnix(ctx, path)
	return &agentLine{Conn: conn, path: path, now: conn}, err
}

func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

func (l *agentLine) current() net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// Read reads on from the new connection when the old one ends for it.
func (l *agentLine) Read(b []byte) (int, error) {
	for {
		conn := l.current()
		n, err := conn.Read(b)
		if err == nil || l.current() == conn {
			return n, err
		}
	}
}

func (l *agentLine) Write(b []byte) (int, error) { return l.current().Write(b) }

func (l *agentLine) SetWriteDeadline(t time.Time) error { return l.current().SetWriteDeadline(t) }

func (l *agentLine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = true
	return l.now.Close()
}

// again makes the connection anew. What is under way on the old one is lost. QEMU takes one client
// at a time.
func (l *agentLine) again(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end {
		return net.ErrClosed
	}
	old := l.now
	conn, err := dialUnix(ctx, l.path) // it waits in the queue
	if err != nil {
		return err
	}
	l.now = conn
	return old.Close()
}

// errSilent: the agent has its port open, and does not answer.
var errSilent = errors.New("the agent does not answer")

// agentPatience is how long an agent whose port is open may be silent before the connection is made
// anew; each next time it is twice as long.
const agentPatience = 2 * time.Second

// sync makes the agent answer, whose port is open.
func (g *Guest) sync(ctx context.Context) error {
	for patience := agentPatience; ; patience *= 2 {
		trying, cancel := context.WithTimeoutCause(ctx, patience, errSilent)
		err := g.qga.Sync(trying)
		silent := errors.Is(context.Cause(trying), errSilent)
		cancel()
		if err == nil || !silent || ctx.Err() != nil {
			return err
		}
		_ = g.line.again(ctx) // else the old one stays
	}
}
