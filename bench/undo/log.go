package undo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/internal/atomicfile"
	"vmtb/internal/flock"
	"vmtb/internal/procfs"
)

// A Journal records a change and then makes it. It is a [Log], or a wrapper of one that decides who
// may still change the host.
type Journal interface {
	Do(ctx context.Context, r Record, change func() error) error
}

// A Log is a journal of records on disk. Its methods may be called from several goroutines at once.
type Log struct {
	undoing sync.Mutex // one Undo at a time

	boot string // id of the current boot of the host

	mu      sync.Mutex
	file    *os.File
	size    int64 // bytes of complete lines in file
	last    int   // id of the newest entry ever made
	pending []Entry
}

// An Entry is a record that has not been undone yet.
type Entry struct {
	ID     int
	Record Record
	// Past is true if the host has been rebooted since. Changes that a reboot undoes are not undone
	// again.
	Past bool
}

// A Mark is a position in a log. Entries after it can be undone on their own.
type Mark int

// A Kind tells [Open] how to decode one kind of record.
type Kind struct {
	name   string
	decode func([]byte) (Record, error)
}

// KindOf returns the Kind of T. The zero value of T must return its name from Kind.
func KindOf[T Record]() Kind {
	var zero T
	return Kind{zero.Kind(), func(b []byte) (Record, error) {
		var r T
		err := json.Unmarshal(b, &r)
		return r, err
	}}
}

// ErrInUse is the error if the process that writes a journal is alive.
var ErrInUse = errors.New("journal is in use by a running process")

// Open opens or creates a journal and locks it. If another process has it open, the error matches
// [ErrInUse]. The records of an earlier process are pending. A last line that a crash cut short is
// removed: its change had not begun. kinds are needed for records from outside this package.
func Open(path string, kinds ...Kind) (*Log, error) {
	// O_NONBLOCK: do not wait for a FIFO.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	l := &Log{file: f}
	if l.boot, err = procfs.BootID(); err == nil {
		err = l.load(kinds)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("undo journal %s: %w", path, err), f.Close())
	}
	return l, nil
}

// Peek returns the pending entries of a journal that another process may have open. It neither
// locks nor changes the journal. The error matches [fs.ErrNotExist] if there is no journal.
func Peek(path string, kinds ...Kind) ([]Entry, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := &Log{file: f}
	var data []byte
	if l.boot, err = procfs.BootID(); err == nil {
		if data, err = l.read(); err == nil {
			err = l.replay(data, kinds)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("undo journal %s: %w", path, err)
	}
	return l.pending, nil
}

// read reads the whole journal.
func (l *Log) read() ([]byte, error) {
	if info, err := l.file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("not a regular file"), err)
	}
	return io.ReadAll(l.file)
}

func (l *Log) load(kinds []Kind) error {
	if err := flock.Exclusive(l.file); err != nil {
		if errors.Is(err, flock.ErrInUse) {
			return ErrInUse
		}
		return err
	}
	data, err := l.read()
	if err != nil {
		return err
	}
	if err := l.replay(data, kinds); err != nil {
		return err
	}
	if l.size < int64(len(data)) {
		if err := l.file.Truncate(l.size); err != nil {
			return err
		}
	}
	return atomicfile.SyncDir(filepath.Dir(l.file.Name()))
}

const maxID = 1 << 32 // far more than a run writes

// A line is one line of the journal: an entry, or the note that an entry is done.
type line struct {
	ID     int             `json:"id,omitempty"`
	Kind   string          `json:"kind,omitempty"`
	Record json.RawMessage `json:"record,omitempty"`
	// Id of the boot of the host in which the change was made.
	Boot string `json:"boot,omitempty"`

	Done int    `json:"done,omitempty"`
	Note string `json:"note,omitempty"` // why the change was left alone
}

func (l *Log) replay(data []byte, kinds []Kind) error {
	kinds = append(kinds, KindOf[Write](), KindOf[Binding](), KindOf[Module](), KindOf[Process](), KindOf[Path]())
	for n := 1; ; n++ {
		text, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return nil
		}
		var ln line
		if err := json.Unmarshal(text, &ln); err != nil {
			// Torn by a crash of the machine: blocks need not reach the disk in order.
			if len(rest) == 0 {
				return nil
			}
			return fmt.Errorf("line %d: %w", n, err)
		}
		switch {
		case ln.Done != 0:
			l.forget(ln.Done)
		// Ids count up from 1; the id of a torn line may come twice.
		case ln.ID < max(l.last, 1), ln.ID > maxID:
			return fmt.Errorf("line %d: a record with id %d after the one with id %d", n, ln.ID, l.last)
		default:
			l.pending = append(l.pending, Entry{ln.ID, decode(ln, kinds), ln.Boot != "" && ln.Boot != l.boot})
			l.last = max(l.last, ln.ID)
		}
		l.size += int64(len(text)) + 1
		data = rest
	}
}

func decode(ln line, kinds []Kind) Record {
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.name == ln.Kind })
	if i < 0 {
		return unreadable{ln, errors.New("unknown kind of record")}
	}
	r, err := kinds[i].decode(ln.Record)
	if err != nil {
		return unreadable{ln, err}
	}
	return r
}

// An unreadable record stays pending: another version of vmtb may be able to undo it.
type unreadable struct {
	line line
	err  error
}

func (u unreadable) Kind() string                       { return u.line.Kind }
func (u unreadable) String() string                     { return fmt.Sprintf("%s %s", u.line.Kind, u.line.Record) }
func (u unreadable) Undone() string                     { return u.String() + " undone" }
func (u unreadable) Undo(context.Context, System) error { return u.err }

// Do writes r to the journal, syncs it, and then calls change. If the journal cannot be written, or
// ctx has ended already, change is not called. If change fails, r stays pending.
func (l *Log) Do(ctx context.Context, r Record, change func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := l.Add(r); err != nil {
		return err
	}
	return change()
}

// Add writes a record whose change is about to be made. For a [Process] it is called right after
// the change.
func (l *Log) Add(r Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.append(line{ID: l.last + 1, Kind: r.Kind(), Record: b, Boot: l.boot}); err != nil {
		return err
	}
	l.last++
	l.pending = append(l.pending, Entry{ID: l.last, Record: r})
	return nil
}

// append writes and syncs one line. If that fails, the journal is unchanged. The caller holds l.mu.
func (l *Log) append(ln line) error {
	b, err := json.Marshal(ln)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(b, '\n'))
	if err == nil {
		err = unix.Fdatasync(int(l.file.Fd()))
	}
	if err != nil {
		return &bench.InfraError{
			Op: "write the undo journal", Err: errors.Join(err, l.file.Truncate(l.size)), Advice: "is the disk full?",
		}
	}
	l.size += int64(len(b)) + 1
	return nil
}

// Mark returns the current end of the log.
func (l *Log) Mark() Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Mark(l.last)
}

// Pending returns the entries that have not been undone yet, oldest first.
func (l *Log) Pending() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.pending)
}

// Undo takes back all pending changes, newest first. A change whose undo fails stays pending, and
// the others are still tried. A change that was left alone ([ErrNotOurs]) or that a reboot undid
// does not stay pending. The error joins all of these. Undo returns when ctx ends, even if the
// kernel does not return from a write.
func (l *Log) Undo(ctx context.Context, sys System) error { return l.UndoTo(ctx, sys, 0) }

// UndoTo is [Log.Undo] for the entries after m.
func (l *Log) UndoTo(ctx context.Context, sys System, m Mark) error {
	return l.undo(ctx, sys, m, func(Entry, error) {})
}

// UndoAndTell is [Log.UndoTo], and calls tell for each change that it tried to take back. The error
// passed to tell is nil, matches [ErrNotOurs] or [ErrPast], or says why the change stays pending.
func (l *Log) UndoAndTell(ctx context.Context, sys System, m Mark, tell func(Entry, error)) error {
	return l.undo(ctx, sys, m, tell)
}

func (l *Log) undo(ctx context.Context, sys System, m Mark, tell func(Entry, error)) error {
	l.undoing.Lock()
	defer l.undoing.Unlock()
	var errs []error
	for _, e := range slices.Backward(l.Pending()) {
		if e.ID <= int(m) {
			break
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, fmt.Errorf("undo %s: %w", e.Record, context.Cause(ctx)))...)
		}
		err := e.undo(ctx, sys)
		tell(e, err)
		if err != nil && !errors.Is(err, ErrPast) {
			errs = append(errs, fmt.Errorf("undo %s: %w", e.Record, err))
		}
		if err == nil || errors.Is(err, ErrNotOurs) || errors.Is(err, ErrPast) {
			errs = append(errs, l.done(e.ID, err))
		}
	}
	return errors.Join(errs...)
}

// Gone reports whether a reboot has undone the change.
func (e Entry) Gone() bool {
	v, ok := e.Record.(volatile)
	return ok && e.Past && v.Volatile()
}

func (e Entry) undo(ctx context.Context, sys System) error {
	if e.Gone() {
		return ErrPast
	}
	return inTime(ctx, func() error { return e.Record.Undo(ctx, sys) })
}

// inTime waits for f until ctx ends. The kernel blocks while it removes a device that a process
// holds.
func inTime(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("not finished in time: %w", context.Cause(ctx))
	}
}

// Drop ends a pending entry whose change was taken back without [Log.Undo].
func (l *Log) Drop(id int) error { return l.done(id, nil) }

func (l *Log) done(id int, leftAlone error) error {
	ln := line{Done: id}
	if leftAlone != nil {
		ln.Note = leftAlone.Error()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(id)
	return l.append(ln) // if this fails, the next process finds nothing to undo: harmless
}

func (l *Log) forget(id int) {
	i, found := slices.BinarySearchFunc(l.pending, id, func(e Entry, id int) int { return cmp.Compare(e.ID, id) })
	if found {
		l.pending = slices.Delete(l.pending, i, i+1)
	}
}

// Close closes the journal. Pending entries stay pending for the next process that opens it.
func (l *Log) Close() error { return l.file.Close() }
