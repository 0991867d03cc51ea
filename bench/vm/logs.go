package vm

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxLog bounds each log of a machine that grows with what the machine does: what a guest writes to its console, and what is
// said to QEMU and the agent. The rest is dropped, and the log says so.
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

// capped opens one of the machine's logs for appending. The note is a line of its own.
func (m *VM) capped(name, note string) (*cappedLog, error) {
	f, err := m.log(name)
	return &cappedLog{w: f, left: maxLog, note: note + "\n"}, err
}

// transcript opens a log of JSON lines.
func (m *VM) transcript(name string) (*cappedLog, error) {
	return m.capped(name, `{"cut":"this log has reached its limit of 64 MiB"}`)
}

// A consoleLog takes what the guest writes to its console from QEMU, which would fill the disk with it, to console.log.
type consoleLog struct {
	pipe *os.File // QEMU takes it for a file
	mu   sync.Mutex
	out  io.Writer
}

// consolePipe is where QEMU writes to.
func (m *VM) consolePipe() string { return m.Socket("console-pipe") }

// openConsole makes the pipe. QEMU comes next: until it has opened it, the pipe reads as ended.
func (m *VM) openConsole() error {
	out, err := m.capped("console.log", "\n[vmtb: cut off here, this log has reached its limit of 64 MiB]")
	if err != nil {
		return err
	}
	if err := unix.Mkfifo(m.consolePipe(), 0o600); err != nil {
		return infra("make the pipe for the console", err)
	}
	pipe, err := os.OpenFile(m.consolePipe(), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return infra("open the pipe for the console", err)
	}
	m.console = &consoleLog{pipe: pipe, out: out}
	m.own(m.consolePipe(), pipe.Close)
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
