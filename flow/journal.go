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

// maxText is the longest string of an entry, in bytes. Longer texts belong in files of their own.
const maxText = 64 << 10

// A journal appends entries to a file. The observer gets an entry when it is on the disk.
type journal struct {
	observe func(Entry)
	failed  func(error) // called once, when writing the journal fails

	mu   sync.Mutex
	f    *os.File
	seq  int
	size int64 // of the file
	err  error // the first error; append does nothing after it
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

// close closes the journal. Later entries, which abandoned goroutines may write, are dropped.
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

// text returns s as valid UTF-8 of at most maxText bytes, plus a note if s was cut.
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

// ReadJournal reads the entries of a journal. A crash may tear the last line: ReadJournal leaves it
// out and sets torn. size is the length in bytes of the whole lines. A bad line anywhere else is an
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

// readStructure is ReadJournal without log lines, except those with facts of machines, which it
// returns apart. Its memory does not depend on how much flows log. The reader that it returns has
// the number of all lines.
func readStructure(r io.Reader) (entries, facts []Entry, in *journalReader, err error) {
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
			return entries, facts, in, err
		}
		e.Offset, e.Size = in.size-in.last, in.last
		switch {
		case e.Event != Log:
			entries = append(entries, e)
		case len(e.Facts) > 0:
			facts = append(facts, e)
		}
	}
}

// ReadPart reads the entries of the journal in dir whose lines lie between two offsets in bytes. It
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
				err = io.ErrUnexpectedEOF // the line was whole at the first reading
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
	long []byte // a line longer than the buffer of in
	n    int    // number of lines so far
	size int64  // their bytes
	last int64  // bytes of the last line
	torn bool   // the last line of the journal was cut off
}

// journalBuffer is the number of bytes that one read of a journal takes.
const journalBuffer = 64 << 10

func newJournalReader(r io.Reader, buffer int64) *journalReader {
	return &journalReader{in: bufio.NewReaderSize(r, int(buffer))}
}

// next calls parse with the next line and its number. parse must not keep the line. more is false
// at the end of the whole lines.
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

// line returns the next line. It is valid until the next call.
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

// isLogLine reports whether line is a log line of this package with the sequence number seq and
// without facts. This is much quicker than parsing the line. A message cannot look like facts: its
// quotes are escaped.
func isLogLine(line []byte, seq int) bool {
	const longest = 100 // bytes of sequence number, time and event
	rest, ok := bytes.CutPrefix(line, []byte(`{"seq":`))
	var number [20]byte
	return ok && bytes.HasPrefix(rest, append(strconv.AppendInt(number[:0], int64(seq), 10), ',')) &&
		bytes.Contains(line[:min(len(line), longest)], []byte(`,"event":"log",`)) &&
		!bytes.Contains(line, []byte(`,"facts":[`)) && json.Valid(line)
}
