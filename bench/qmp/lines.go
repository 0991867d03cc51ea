package qmp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// MaxLine is the longest message in bytes, in both directions. It is the limit of QEMU's own parser
// (MAX_TOKEN_SIZE in qobject/json-streamer.c). The longest message in practice is the output of a
// guest command, 45 MB.
const MaxLine = 64 << 20

// resync is a byte that never occurs in JSON text. The guest agent drops an unfinished request when
// it reads one. It also sends one before the reply to guest-sync-delimited, because an unfinished
// reply may precede that.
const resync = 0xFF

// Lines carries requests and replies over a connection, one JSON message a line: see the package
// comment.
type Lines struct {
	conn  net.Conn
	opts  LinesOptions
	log   *transcript
	ended chan struct{} // closed when the reader has ended

	writing chan struct{} // holds a token while a goroutine writes
	torn    bool          // a request was written partly; guarded by writing

	done chan struct{} // closed after err is set
	mu   sync.Mutex
	err  error

	// Makes ids differ from those of other connections, whose replies may still arrive.
	prefix  string
	last    atomic.Uint64
	pending map[string]*Call
}

// LinesOptions are the differences between the protocols that use [Lines].
type LinesOptions struct {
	Transcript io.Writer // gets every line; see [Options]

	// Stray is called by the reader, in the order of arrival, with each line that answers no
	// request. If it returns an error, the connection ends.
	Stray func(line []byte) error

	// Resync means that the byte 0xFF makes the other side drop an unfinished request before it. So
	// a request that was written partly does not end the connection.
	Resync bool
}

// A Request is a command to send.
type Request struct {
	Cmd    string
	Args   any  // marshalled; nil for none
	Resync bool // send 0xFF first
}

// NewLines returns a Lines that owns conn, and starts to read from it.
func NewLines(conn net.Conn, o LinesOptions) *Lines {
	l := &Lines{
		conn: conn, opts: o, log: newTranscript(o.Transcript),
		writing: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{}),
		prefix: rand.Text()[:8] + "-", pending: map[string]*Call{},
	}
	go l.read()
	return l
}

// Execute sends a command and waits at most timeout for its reply. The result is unmarshalled into
// ret, unless that is nil.
func (l *Lines) Execute(ctx context.Context, timeout time.Duration, r Request, ret any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	call, err := l.Send(ctx, r)
	if err != nil {
		return err
	}
	defer call.Forget()
	return call.Wait(ctx, ret)
}

// Send sends a request. The caller must end the Call with [Call.Forget]. If Send fails, the other
// side got nothing that it could act on.
func (l *Lines) Send(ctx context.Context, r Request) (*Call, error) {
	call := l.newCall(r.Cmd)
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        string `json:"id"`
	}{r.Cmd, r.Args, call.id})
	if err == nil && len(line) > MaxLine {
		err = fmt.Errorf("the request has %d bytes, which is too large", len(line))
	}
	if err != nil {
		call.Forget()
		return nil, fmt.Errorf("%s: %w", r.Cmd, err)
	}
	if err := l.write(ctx, line, r.Resync); err != nil {
		call.Forget()
		return nil, call.failed(ctx, err)
	}
	return call, nil
}

func (l *Lines) newCall(cmd string) *Call {
	c := &Call{lines: l, id: l.newID(), cmd: cmd, sent: time.Now(), answered: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending[c.id] = c
	return c
}

func (l *Lines) newID() string { return l.prefix + strconv.FormatUint(l.last.Add(1), 10) }

func (l *Lines) write(ctx context.Context, line []byte, fresh bool) error {
	select {
	case l.writing <- struct{}{}:
		defer func() { <-l.writing }()
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return l.Err()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.log.add("out", line)
	message := slices.Concat(line, []byte{'\n'})
	if fresh || l.torn {
		message = slices.Insert(message, 0, resync)
	}
	expired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = l.conn.SetWriteDeadline(time.Unix(1, 0))
		close(expired)
	})
	n, err := l.conn.Write(message)
	if !stop() {
		<-expired
		_ = l.conn.SetWriteDeadline(time.Time{})
	}
	return l.written(ctx, n, err)
}

// written handles a failed write. A partial request would spoil the next one, so it may end the
// connection.
func (l *Lines) written(ctx context.Context, n int, err error) error {
	switch {
	case err == nil:
		l.torn = false
	case ctx.Err() != nil && n == 0:
	case ctx.Err() != nil && l.opts.Resync:
		l.torn = true
	default:
		l.fail(fmt.Errorf("write: %w", err))
		return l.Err()
	}
	return err
}

func (l *Lines) read() {
	defer close(l.ended)
	defer l.log.close()
	r := bufio.NewReaderSize(l.conn, 128<<10) // holds a whole chunk of a file
	for {
		line, err := readLine(r)
		l.log.add("in", bytes.TrimSpace(line))
		if err == nil {
			err = l.dispatch(line)
		}
		if err != nil {
			l.fail(err)
			return
		}
	}
}

// readLine returns a line in a new buffer.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > MaxLine {
			return line[:min(len(line), transcriptHead)], fmt.Errorf("received a line longer than %d bytes", MaxLine)
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func (l *Lines) dispatch(line []byte) error {
	line = bytes.TrimSpace(line[bytes.LastIndexByte(line, resync)+1:])
	if len(line) == 0 {
		return nil
	}
	if m, ok := parseReply(line); ok {
		if c := l.take(m.ID); c != nil {
			c.result, c.err = m.Return, m.Error
			if c.err != nil {
				c.err.Cmd = c.cmd
			}
			close(c.answered)
			return nil
		}
	}
	return l.opts.Stray(line)
}

func (l *Lines) take(id any) *Call {
	key, _ := id.(string)
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.pending[key]
	delete(l.pending, key)
	return c
}

func (l *Lines) fail(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = ErrClosed
	if cause != nil {
		l.err = fmt.Errorf("%w: %w", ErrClosed, cause)
	}
	_ = l.conn.Close()
	close(l.done)
}

// Done returns a channel that is closed when the connection has ended; then Err returns the reason.
func (l *Lines) Done() <-chan struct{} { return l.done }

// Err returns nil while the connection is open, and then why it ended.
func (l *Lines) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close closes the connection. Calls in progress fail. When Close returns, the transcript is
// written, unless its writer took more than 2 s.
func (l *Lines) Close() error {
	l.fail(nil)
	<-l.ended
	l.log.flush()
	return nil
}
