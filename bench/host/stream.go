package host

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"
)

const (
	// outputLimit is how much of each output stream is kept. More is read and dropped, so the
	// command does not block.
	outputLimit = 64 << 20

	// pipeSize is what a pipe can hold (see pipe(7)): what a process wrote last and nobody has read
	// is not more.
	pipeSize  = 64 << 10
	drainTime = 100 * time.Millisecond // to read what is in a pipe already
)

// A stream is an output of a process on its way to a writer.
type stream struct {
	pipe *os.File
	to   io.Writer
	kept capped // what has no writer of the caller's

	done chan struct{} // closed when all has been copied, with the two below
	cut  bool          // the pipe was still open when it was given up
	err  error         // of the writer
}

// newStream returns a stream and the end of it that the process gets. w is nil for output that is
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

// ended says that the process has ended. Others may hold its output open, and are waited for no
// longer than for d.
func (s *stream) ended(d time.Duration) { _ = s.pipe.SetReadDeadline(time.Now().Add(d)) }

// copy brings the output to the writer. broken is called when that fails; from then on the output
// is dropped.
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
		case errors.Is(err, os.ErrDeadlineExceeded) && !s.cut: // the writer may be what took so long: there may be more
			s.cut = true
			_ = s.pipe.SetReadDeadline(time.Now().Add(drainTime))
		default: // the end, or the deadline again
			s.cut = s.cut && !errors.Is(err, io.EOF)
			return
		}
	}
}

// capped is a buffer that takes outputLimit bytes and drops the rest.
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
