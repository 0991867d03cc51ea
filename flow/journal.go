package flow

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// maxText bounds each string of an entry. What is longer belongs into a file of its own.
const maxText = 64 << 10

// A journal appends entries to a file: each is on the disk before the observer sees it.
type journal struct {
	observe func(Entry)
	failed  func(error) // told once, when the journal cannot be written any more

	mu   sync.Mutex
	f    *os.File
	seq  int
	size int64 // of the file
	err  error // sticky
}

func (j *journal) append(e Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return
	}
	e.Seq = j.seq + 1
	e.Time = time.Now().UTC().Truncate(time.Microsecond)
	for _, s := range []*string{&e.Name, &e.Reason, &e.Stack, &e.Message} {
		*s = text(*s)
	}
	e.Offset = j.size
	if e.Size, j.err = writeLine(j.f, e); j.err != nil {
		j.failed(j.err)
		return
	}
	j.seq++
	j.size += e.Size
	j.observe(e)
}

// close makes later entries (of abandoned goroutines) go nowhere.
func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = os.ErrClosed
	}
	return j.f.Close()
}

func writeLine(f *os.File, e Entry) (size int64, err error) {
	line, err := json.Marshal(e)
	if err == nil {
		_, err = f.Write(append(line, '\n'))
	}
	if err == nil {
		err = unix.Fdatasync(int(f.Fd()))
	}
	return int64(len(line)) + 1, err
}

// text makes s fit for the journal: valid UTF-8 of bounded length.
func text(s string) string {
	size := len(s)
	if size > maxText {
		cut := maxText
		for cut > maxText-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + fmt.Sprintf("\n[cut: %d bytes in all]", size)
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// ReadJournal reads the entries of a journal. The last line may be torn by a crash: it is left out,
// and torn is true. size is the length of the part that is whole. A bad line anywhere else is an
// error.
func ReadJournal(r io.Reader) (entries []Entry, size int64, torn bool, err error) {
	in := newJournalReader(r, journalBuffer)
	for {
		var e Entry
		if more, err := in.next(func(line []byte, seq int) error { return parseLine(line, seq, &e) }); !more {
			return entries, in.size, in.torn, err
		}
		e.Offset, e.Size = in.size-in.last, in.last
		entries = append(entries, e)
	}
}

// readStructure is ReadJournal without log lines: it returns the number of all lines instead. What
// it holds in memory does not depend on how much flows log.
func readStructure(r io.Reader) (entries []Entry, in *journalReader, err error) {
	in = newJournalReader(r, journalBuffer)
	var e Entry
	parse := func(line []byte, seq int) error {
		if e = (Entry{}); isLogLine(line, seq) {
			e.Event = Log
			return nil
		}
		return parseLine(line, seq, &e)
	}
	for {
		if more, err := in.next(parse); !more {
			return entries, in, err
		}
		if e.Event != Log {
			e.Offset, e.Size = in.size-in.last, in.last
			entries = append(entries, e)
		}
	}
}

// ReadPart reads the entries of the journal in dir again whose lines lie between two offsets. It
// holds one entry at a time. An error is the last value.
func ReadPart(dir string, from, to int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		f, err := os.Open(filepath.Join(dir, journalFile))
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer f.Close()
		in := newJournalReader(io.NewSectionReader(f, from, to-from), min(to-from, journalBuffer))
		for {
			var e Entry
			more, err := in.next(func(line []byte, _ int) error { return json.Unmarshal(line, &e) })
			if err == nil && in.torn {
				err = io.ErrUnexpectedEOF // it was whole before
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			e.Offset, e.Size = from+in.size-in.last, in.last
			if !more || !yield(e, nil) {
				return
			}
		}
	}
}

// A journalReader reads a journal line by line.
type journalReader struct {
	in   *bufio.Reader
	long []byte // a line that is longer than the buffer of in
	n    int    // lines so far
	size int64  // of these lines
	last int64  // of the last of them
	torn bool   // the last line of the journal was cut off
}

// journalBuffer is how many bytes of a journal are read at once.
const journalBuffer = 64 << 10

func newJournalReader(r io.Reader, buffer int64) *journalReader {
	return &journalReader{in: bufio.NewReaderSize(r, int(buffer))}
}

// next calls parse with the next line, which parse must not keep, and its number. more is false at
// the end of the journal's whole part.
func (r *journalReader) next(parse func(line []byte, seq int) error) (more bool, err error) {
	line, err := r.line()
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if len(line) == 0 {
		return false, nil
	}
	size := int64(len(line))
	if !bytes.HasSuffix(line, []byte("\n")) {
		err = io.ErrUnexpectedEOF
	} else {
		err = parse(line, r.n+1)
	}
	if err != nil {
		if _, next := r.in.Peek(1); errors.Is(next, io.EOF) {
			r.torn = true
			return false, nil
		}
		return false, fmt.Errorf("journal: line %d: %w", r.n+1, err)
	}
	r.n++
	r.size += size
	r.last = size
	return true, nil
}

// line returns the next line, until the next call.
func (r *journalReader) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	for r.long = r.long[:0]; errors.Is(err, bufio.ErrBufferFull); line, err = r.in.ReadSlice('\n') {
		r.long = append(r.long, line...)
	}
	r.long = append(r.long, line...)
	return r.long, err
}

func parseLine(line []byte, seq int, e *Entry) error {
	if err := json.Unmarshal(line, e); err != nil {
		return err
	}
	if e.Seq != seq {
		return fmt.Errorf("sequence number %d, want %d", e.Seq, seq)
	}
	return nil
}

// isLogLine reports whether a line is a log line as this package writes it, with that sequence
// number. It is much quicker than to parse the line.
func isLogLine(line []byte, seq int) bool {
	const longest = 100 // sequence number, time and event
	rest, ok := bytes.CutPrefix(line, []byte(`{"seq":`))
	var number [20]byte
	return ok && bytes.HasPrefix(rest, append(strconv.AppendInt(number[:0], int64(seq), 10), ',')) &&
		bytes.Contains(line[:min(len(line), longest)], []byte(`,"event":"log",`)) && json.Valid(line)
}
