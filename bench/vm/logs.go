package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"vmtb/bench"
)

// maxLog bounds each log of a machine that grows with what the machine does: what a guest writes to
// its console, and what is said to QEMU and the agent. The rest is dropped, and the log says so.
const maxLog = 64 << 20

// A cappedLog is a log that takes so many bytes more. What does not fit as a whole is its end.
type cappedLog struct {
	mu   sync.Mutex
	w    io.Writer
	left int64
	note string // the last line of a log that was cut off
}

func (l *cappedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	switch size := int64(len(p)); {
	case l.left < 0: // it is cut off already
	case size > l.left:
		l.left = -1
		_, err = io.WriteString(l.w, l.note)
	default:
		l.left -= size
		_, err = l.w.Write(p)
	}
	return len(p), err
}

// logs are the logs in a machine's folder.
type logs struct {
	dir     string
	console *consoleLog // nil before QEMU is started
	undo    *reverter
}

// capped opens one of the machine's logs for appending. The note is a line of its own.
func (l *logs) capped(name, note string) (*cappedLog, error) {
	f, err := l.open(name)
	return &cappedLog{w: f, left: maxLog, note: note + "\n"}, err
}

// transcript opens a log of JSON lines.
func (l *logs) transcript(name string) (*cappedLog, error) {
	return l.capped(name, `{"cut":"this log has reached its limit of 64 MiB"}`)
}

// A consoleLog takes what the guest writes to its console from QEMU, which would fill the disk with
// it, to console.log.
type consoleLog struct {
	pipe *os.File // QEMU takes it for a file
	mu   sync.Mutex
	out  io.Writer
}

// openConsole makes the pipe. QEMU comes next: until it has opened it, the pipe reads as ended.
func (l *logs) openConsole(sockets socketDir) error {
	out, err := l.capped("console.log", "\n[vmtb: cut off here, this log has reached its limit of 64 MiB]")
	if err != nil {
		return err
	}
	if err := unix.Mkfifo(sockets.consolePipe(), 0o600); err != nil {
		return infra("make the pipe for the console", err)
	}
	pipe, err := os.OpenFile(sockets.consolePipe(), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return infra("open the pipe for the console", err)
	}
	l.console = &consoleLog{pipe: pipe, out: out}
	l.undo.own(sockets.consolePipe(), pipe.Close)
	return nil
}

// follow writes what comes until QEMU has ended.
func (c *consoleLog) follow() {
	raw, err := c.pipe.SyscallConn()
	if err == nil {
		_ = raw.Read(c.drain) // its error is that the pipe was closed
	}
}

// flush writes what has come so far.
func (c *consoleLog) flush() {
	if raw, err := c.pipe.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { c.drain(fd) })
	}
}

// drain writes what is in the pipe. It reports whether there is nobody any more to write into it.
func (c *consoleLog) drain(fd uintptr) (ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Read(int(fd), buf)
		switch {
		case n > 0:
			_, _ = c.out.Write(buf[:n]) // a log that cannot be written must not stop the guest
		case errors.Is(err, syscall.EINTR):
		default:
			return !errors.Is(err, syscall.EAGAIN)
		}
	}
}

// open opens one of the machine's logs for appending.
func (l *logs) open(name string) (*os.File, error) {
	f, err := os.OpenFile(l.path(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, infra("open a log", err)
	}
	l.undo.add(func(context.Context) error { return f.Close() })
	return f, nil
}

func (l *logs) path(name string) string { return filepath.Join(l.dir, name) }

const (
	tailLines  = 20
	panicLines = 80 // the line that says why is before the registers and the stack
	tailBytes  = 16 << 10
)

// withConsole adds the end of the console to err.
func (l *logs) withConsole(err error) error {
	return fmt.Errorf("%w\n%s", err, l.tail("console.log", tailLines))
}

// tails returns the end of QEMU's own output and of the console, each below its name.
func (l *logs) tails() string {
	return "stderr.log:\n" + l.tail("stderr.log", tailLines) + "\nconsole.log:\n" + l.tail("console.log", tailLines)
}

// tail returns the last lines of one of the machine's logs.
func (l *logs) tail(name string, lines int) string {
	if l.console != nil {
		l.console.flush()
	}
	f, err := os.Open(l.path(name))
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	defer f.Close()
	var data []byte
	info, err := f.Stat()
	if err == nil {
		data, err = io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-tailBytes), tailBytes))
	}
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	return strings.ReplaceAll(bench.Tail(data, lines), "\r", "")
}
