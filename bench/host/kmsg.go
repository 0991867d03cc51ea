package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
)

// A KernelMessage is a record of the kernel's log (Documentation/ABI/testing/dev-kmsg).
type KernelMessage struct {
	Level    int           // 0 (emergency) to 7 (debug); 4 is a warning
	Facility int           // 0 is the kernel itself, 1 what user space wrote
	Seq      uint64        // counts records since boot
	Time     time.Duration // since boot
	Continue bool          // the former record is part of the same line
	Text     string        // may have several lines
	Dict     []string      // "SUBSYSTEM=pci", "DEVICE=+pci:0000:03:00.0"; often empty
	// Number of records before this one that the kernel overwrote before they were read.
	Lost uint64
}

// String returns the message as dmesg shows it.
func (m KernelMessage) String() string {
	return fmt.Sprintf("<%d>[%12.6f] %s", m.Level, m.Time.Seconds(), m.Text)
}

// ParseKernelMessage parses one record in the format of /dev/kmsg: "6,339,5140900,-;text\n
// KEY=value\n".
func ParseKernelMessage(record []byte) (KernelMessage, error) {
	var m KernelMessage
	prefix, text, ok := strings.Cut(string(record), ";")
	fields := strings.Split(prefix, ",")
	if !ok || len(fields) < 4 { // the ABI allows more fields
		return m, fmt.Errorf("kernel log: %q is not a record", shorten(record))
	}
	priority, err := strconv.ParseUint(fields[0], 10, 31)
	seq, err2 := strconv.ParseUint(fields[1], 10, 64)
	usec, err3 := strconv.ParseInt(fields[2], 10, 53)
	if err := errors.Join(err, err2, err3); err != nil || usec < 0 {
		return m, fmt.Errorf("kernel log: %q is not a record: %w", shorten(record), err)
	}
	m.Level, m.Facility, m.Seq, m.Time = int(priority&7), int(priority>>3), seq, time.Duration(usec)*time.Microsecond
	// Older kernels mark a line's first part with "c".
	m.Continue = fields[3] == "+" || fields[3] == "c"
	text, dict, _ := strings.Cut(strings.TrimSuffix(text, "\n"), "\n")
	m.Text = unescape(text)
	for line := range strings.Lines(dict) {
		m.Dict = append(m.Dict, unescape(strings.TrimSuffix(strings.TrimPrefix(line, " "), "\n")))
	}
	return m, nil
}

func shorten(b []byte) []byte { return b[:min(len(b), 80)] }

// unescape undoes the kernel's escaping of unprintable bytes: \x0a is a line end.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// A KernelLog follows the kernel's log until its context ends.
type KernelLog struct {
	done chan struct{}
	use  func(KernelMessage)

	reading sync.Mutex
	kmsg    *kmsg  // nil after the log is closed
	next    uint64 // next sequence number; 0 if not known yet

	mu  sync.Mutex
	err error
}

// FollowKernelLog passes every message that the kernel logs from now on to use, in order, one at a
// time. It returns after the log is open, so no later message is missed. It reads until ctx ends,
// and then passes on the messages logged before that. use must not block: the kernel overwrites
// messages that are not read in time. The kernel may still continue a message without a line end,
// so such a message is passed on when the next one arrives.
func (h *Host) FollowKernelLog(ctx context.Context, use func(KernelMessage)) (*KernelLog, error) {
	f, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err == nil {
		_, err = f.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return nil, &bench.HostError{Op: "follow the kernel log", Err: err, Advice: "reading /dev/kmsg needs root"}
	}
	return follow(ctx, kmsg{f}, use), nil
}

// kmsg is the kernel's log, opened with O_NONBLOCK.
type kmsg struct{ *os.File }

// take is a Read that does not wait: it fails with EAGAIN if there is no record.
func (f kmsg) take(p []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) { n, err = unix.Read(int(fd), p) })
	return max(n, 0), errors.Join(err, failed)
}

// await waits until there is a record to read, or until the deadline of [os.File.SetReadDeadline].
func (f kmsg) await() error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
}

// follow follows a log. Each Read of r returns one record. It closes r.
func follow(ctx context.Context, r io.ReadCloser, use func(KernelMessage)) *KernelLog {
	l := &KernelLog{done: make(chan struct{}), use: use}
	read := l.read
	if f, ok := r.(kmsg); ok {
		l.kmsg, read = &f, l.readKmsg
	}
	stop := context.AfterFunc(ctx, func() { interrupt(r) })
	go func() {
		defer close(l.done)
		defer l.close(r)
		defer stop()
		if err := read(ctx, r); err != nil {
			l.mu.Lock()
			l.err = &bench.HostError{Op: "follow the kernel log", Err: err}
			l.mu.Unlock()
		}
	}()
	return l
}

// interrupt ends a Read of r that waits for more records. Reads that do not wait still work.
func interrupt(r io.Closer) {
	if f, ok := r.(kmsg); ok && f.SetReadDeadline(time.Unix(1, 0)) == nil {
		return
	}
	r.Close()
}

// close closes r, and makes further calls of Sync do nothing.
func (l *KernelLog) close(r io.Closer) {
	l.reading.Lock()
	defer l.reading.Unlock()
	l.kmsg = nil
	r.Close()
}

// maxRecord is larger than any record that the kernel returns in one read (PRINTK_MESSAGE_MAX, 2
// KiB).
const maxRecord = 8 << 10

// maxDrain limits how many records are read without waiting: a kernel in trouble may log without
// end.
const maxDrain = 100_000

// readKmsg reads the records that exist, then waits for more. After ctx ends it reads the remaining
// records and returns.
func (l *KernelLog) readKmsg(ctx context.Context, r io.Reader) error {
	for {
		last := ctx.Err() != nil
		if err := l.drain(); err != nil || last {
			return err
		}
		if err := r.(kmsg).await(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// Sync returns after all earlier messages have been passed to use. It calls use itself, so use must
// not call Sync.
func (l *KernelLog) Sync() error { return l.drain() }

func (l *KernelLog) drain() error {
	l.reading.Lock()
	defer l.reading.Unlock()
	buf := make([]byte, maxRecord)
	for range maxDrain {
		if l.kmsg == nil { // the log has ended, or l follows another source
			return nil
		}
		n, err := l.kmsg.take(buf)
		switch {
		case err == nil:
			err = l.record(buf[:n])
		case errors.Is(err, syscall.EAGAIN):
			return nil
		// Overwritten: the next sequence number shows the gap.
		case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.EINTR):
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read reads a log that cannot Sync.
func (l *KernelLog) read(ctx context.Context, r io.Reader) error {
	buf := make([]byte, maxRecord)
	for {
		n, err := r.Read(buf)
		switch {
		case err == nil:
			err = l.record(buf[:n])
		case errors.Is(err, syscall.EPIPE):
			err = nil
		case ctx.Err() != nil, errors.Is(err, io.EOF):
			return nil //nolint:nilerr // this is how following ends
		}
		if err != nil {
			return err
		}
	}
}

// record parses one record and passes it to use.
func (l *KernelLog) record(data []byte) error {
	m, err := ParseKernelMessage(data)
	if err != nil {
		return err
	}
	if l.next != 0 && m.Seq > l.next {
		m.Lost = m.Seq - l.next
	}
	l.next = m.Seq + 1
	l.use(m)
	return nil
}

// Wait waits until following has ended. It returns nil if ctx ended it, or else the reason.
func (l *KernelLog) Wait() error {
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
