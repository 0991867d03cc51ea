package host

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"
)

const (
	// outputLimit is how many bytes of each output stream are kept. More output is read and
	// dropped, so the command does not block.
	outputLimit = 64 << 20

	// pipeSize is the capacity of a pipe (pipe(7)) in bytes. Unread output of a process that has
	// ended is not larger.
	pipeSize  = 64 << 10
	drainTime = 100 * time.Millisecond // time to read the rest of a pipe
)

// A stream copies one output of a process to a writer.
type stream struct {
	pipe *os.File
	to   io.Writer
	kept capped // the output, if the caller gave no writer

	done chan struct{} // closed after all was copied; the two below are set then
	cut  bool          // the pipe was still open when copying stopped
	err  error         // the writer's error
}

// newStream returns a stream and the end of its pipe for the process. w is nil if the output is
// kept.
func newStream(w io.Writer) (*stream, *os.File, error) {
	r, end, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	s := &stream{pipe: r, to: w, done: make(chan struct{})}
	if w == nil {
		s.to = &s.kept
	}
	return s, end, nil
}

// ended is called when the process has ended. If other processes hold the output open, copy waits
// for at most d more.
func (s *stream) ended(d time.Duration) { _ = s.pipe.SetReadDeadline(time.Now().Add(d)) }

// copy copies the output to the writer. If the writer fails, copy calls broken and drops the
// remaining output.
func (s *stream) copy(broken func()) {
	defer close(s.done)
	defer s.pipe.Close()
	buf := make([]byte, 64<<10)
	for left := pipeSize; ; {
		n, err := s.pipe.Read(buf)
		if n > 0 && s.err == nil {
			if _, s.err = s.to.Write(buf[:n]); s.err != nil {
				go broken()
			}
		}
		if s.cut {
			left -= n
		}
		switch {
		case err == nil && left > 0:
		// The writer may have been slow: there may be more to read.
		case errors.Is(err, os.ErrDeadlineExceeded) && !s.cut:
			s.cut = true
			_ = s.pipe.SetReadDeadline(time.Now().Add(drainTime))
		default: // the end of the output, or a second deadline
			s.cut = s.cut && !errors.Is(err, io.EOF)
			return
		}
	}
}

// capped is a buffer that keeps the first outputLimit bytes and drops the rest.
type capped struct {
	bytes.Buffer
	truncated bool
}

func (b *capped) Write(p []byte) (int, error) {
	room := outputLimit - b.Len()
	if len(p) > room {
		b.truncated = true
		_, err := b.Buffer.Write(p[:room])
		return len(p), err
	}
	return b.Buffer.Write(p)
}
