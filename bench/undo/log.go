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

// A Journal takes the record of a change and then makes it: a [Log], or what stands in front of one
// and decides who may still change the host.
type Journal interface {
	Do(ctx context.Context, r Record, change func() error) error
}

// A Log is a journal of records on disk. Its methods may be called from several goroutines at once.
type Log struct {
	undoing sync.Mutex // one Undo at a time

	boot string // id of the host's present boot

	mu      sync.Mutex
	file    *os.File
	size    int64 // of the whole lines in file
	last    int   // id of the newest entry ever made
	pending []Entry
}

// An Entry is a record that has not been undone yet.
type Entry struct {
	ID     int
	Record Record
	// Past says that the host has been booted since: what a reboot undoes by itself is not touched
	// any more.
	Past bool
}

// A Mark is a place in a log: what is newer can be undone on its own.
type Mark int

// A Kind tells [Open] how to read one kind of record back.
type Kind struct {
	name   string
	decode func([]byte) (Record, error)
}

// KindOf is the kind of T, whose zero value must know its name.
func KindOf[T Record]() Kind {
	var zero T
	return Kind{zero.Kind(), func(b []byte) (Record, error) {
		var r T
		err := json.Unmarshal(b, &r)
		return r, err
	}}
}

// ErrInUse says that the process which writes a journal is alive.
var ErrInUse = errors.New("journal is in use by a running process")

// Open opens a journal, or makes a new one, and locks it: [ErrInUse] if another process has it
// open. Records that an earlier process left are pending. A last line that a crash has torn is cut
// off: its change had not begun. Kinds are needed for records from outside this package.
func Open(path string, kinds ...Kind) (*Log, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o600) // a FIFO is not waited for
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

// Peek returns what is pending in a journal that another process may have open. It neither locks
// nor changes it. The error matches [fs.ErrNotExist] if there is no journal.
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
		return nil, errors.Join(errors.New("not a file"), err)
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

const maxID = 1 << 32 // far more than a run makes

// A line of the journal: an entry, or the note that one is done with.
type line struct {
	ID     int             `json:"id,omitempty"`
	Kind   string          `json:"kind,omitempty"`
	Record json.RawMessage `json:"record,omitempty"`
	Boot   string          `json:"boot,omitempty"` // id of the boot in which the change was made

	Done int    `json:"done,omitempty"`
	Note string `json:"note,omitempty"` // why it was left alone
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
			if len(rest) == 0 { // torn by a crash of the machine: blocks need not reach the disk in order
				return nil
			}
			return fmt.Errorf("line %d: %w", n, err)
		}
		switch {
		case ln.Done != 0:
			l.forget(ln.Done)
		case ln.ID < max(l.last, 1), ln.ID > maxID: // ids count up from 1; the id of a torn line may come twice
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

// An unreadable record stays pending: another version of vmtb may know what to do with it.
type unreadable struct {
	line line
	err  error
}

func (u unreadable) Kind() string                       { return u.line.Kind }
func (u unreadable) String() string                     { return fmt.Sprintf("%s %s", u.line.Kind, u.line.Record) }
func (u unreadable) Undone() string                     { return u.String() + " undone" }
func (u unreadable) Undo(context.Context, System) error { return u.err }

// Do writes r to the journal, syncs it, and then makes the change. If the journal cannot be
// written, the change is not made; nor is it when ctx has ended already. If the change fails, r
// stays pending.
func (l *Log) Do(ctx context.Context, r Record, change func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := l.Add(r); err != nil {
		return err
	}
	return change()
}

// Add writes a record whose change is about to be made, or (a [Process]) has just been.
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

// append writes and syncs one line, or leaves the journal as it was. l.mu is held.
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

// Mark is the present end of the log.
func (l *Log) Mark() Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Mark(l.last)
}

// Pending lists what has not been undone yet, oldest first.
func (l *Log) Pending() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.pending)
}

// Undo takes back all pending changes, newest first. One that fails stays pending and does not keep
// the others from being tried; one that was left alone ([ErrNotOurs]) or that a reboot has undone
// does not stay pending. The error joins all of them. Undo returns when ctx ends, even if the
// kernel does not return from a write.
func (l *Log) Undo(ctx context.Context, sys System) error { return l.UndoTo(ctx, sys, 0) }

// UndoTo is [Log.Undo] for what is newer than m.
func (l *Log) UndoTo(ctx context.Context, sys System, m Mark) error {
	return l.undo(ctx, sys, m, func(Entry, error) {})
}

// UndoAndTell is [Log.UndoTo], and calls tell with each change that it has tried to take back and
// what came of it: nil, an error that matches [ErrNotOurs] or [ErrPast], or why the change stays
// pending.
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

// Gone reports that a reboot has undone the change.
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

// inTime waits for f until ctx ends. The kernel does not return from taking a device away while
// somebody holds it.
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

// Drop ends an entry that is pending: its change has been taken back by other means than [Log.Undo].
func (l *Log) Drop(id int) error { return l.done(id, nil) }

func (l *Log) done(id int, leftAlone error) error {
	ln := line{Done: id}
	if leftAlone != nil {
		ln.Note = leftAlone.Error()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(id)
	return l.append(ln) // should this fail, the next process finds nothing to undo: no harm
}

func (l *Log) forget(id int) {
	i, found := slices.BinarySearchFunc(l.pending, id, func(e Entry, id int) int { return cmp.Compare(e.ID, id) })
	if found {
		l.pending = slices.Delete(l.pending, i, i+1)
	}
}

// Close closes the journal. What is pending stays so for the next process that opens it.
func (l *Log) Close() error { return l.file.Close() }
