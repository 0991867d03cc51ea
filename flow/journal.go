package flow

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
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

	mu  sync.Mutex
	f   *os.File
	seq int
	err error // sticky
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
	if j.err = writeLine(j.f, e); j.err != nil {
		j.failed(j.err)
		return
	}
	j.seq++
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

func writeLine(f *os.File, e Entry) error {
	line, err := json.Marshal(e)
	if err == nil {
		_, err = f.Write(append(line, '\n'))
	}
	if err == nil {
		err = unix.Fdatasync(int(f.Fd()))
	}
	return err
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
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return entries, size, false, err
		}
		if len(line) == 0 {
			return entries, size, false, nil
		}
		var e Entry
		bad := parseLine(line, len(entries)+1, &e)
		if bad != nil {
			if _, next := in.Peek(1); next == io.EOF {
				return entries, size, true, nil
			}
			return entries, size, false, fmt.Errorf("journal: line %d: %w", len(entries)+1, bad)
		}
		entries = append(entries, e)
		size += int64(len(line))
	}
}

func parseLine(line []byte, seq int, e *Entry) error {
	if !bytes.HasSuffix(line, []byte("\n")) {
		return io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(line, e); err != nil {
		return err
	}
	if e.Seq != seq {
		return fmt.Errorf("sequence number %d, want %d", e.Seq, seq)
	}
	return nil
}
