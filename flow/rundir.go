package flow

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/internal/atomicfile"
	"vmtb/internal/flock"
	"vmtb/internal/procfs"
)

// Format is the version of the run directory that this package writes and reads.
const Format = 1

// The files of a run directory.
const (
	infoFile    = "run.json"
	journalFile = "journal.jsonl"
	lockFile    = "lock"

	UndoFile = "undo.jsonl" // passed to Options.OpenUndo; another process recovers from it
)

// Info is run.json: the facts about a run that are known before anything runs.
type Info struct {
	Format       int             `json:"format"`
	Version      string          `json:"vmtb"` // version of the program
	DUT          string          `json:"dut,omitempty"`
	Start        time.Time       `json:"start"`
	Argv         []string        `json:"argv,omitempty"`
	PID          int             `json:"pid"`
	PIDStart     uint64          `json:"pid_start"` // clock ticks after boot: field 22 of /proc/PID/stat
	BootID       string          `json:"boot_id"`
	MachineID    string          `json:"machine_id,omitempty"` // procfs.MachineID; "" is unknown
	TimeoutScale float64         `json:"timeout_scale"`
	Timeout      time.Duration   `json:"timeout_ns,omitempty"` // of the whole run; 0 is none
	Policy       Policy          `json:"policy,omitzero"`
	Config       json.RawMessage `json:"config,omitempty"`
	Notes        []string        `json:"notes,omitempty"` // notes of Select
	Environment  []Fact          `json:"environment,omitempty"`
	// KernelLogRules are the user's rules about kernel messages, as their file has them.
	KernelLogRules json.RawMessage `json:"kernel_log_rules,omitempty"`
	Plan           []Item          `json:"plan"`
	DUTs           []DUT           `json:"duts,omitempty"` // only in a run made by Merge

	Dir string `json:"-"` // the run directory itself, absolute
}

// A Fact is a known property of the machine under test, such as "qemu", "10.0.13".
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A RunDir is the contents of a run directory.
type RunDir struct {
	Info    Info
	Entries []Entry // without log lines; All returns these, too
	Facts   []Entry // the log lines with facts of machines
	Torn    bool    // the last line of the journal was cut off, and is not in Entries
	Alive   bool    // its vmtb is still running

	size  int64 // bytes of the whole lines of the journal
	lines int   // number of these lines, log lines included
}

// IsRunDir reports whether dir has a run.json.
func IsRunDir(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, infoFile))
	return err == nil && info.Mode().IsRegular()
}

// OpenRun reads the directory of a run that is over, alive or dead. It keeps no log lines in
// memory: they may be larger than it. Any error means that dir is not a run directory or cannot be
// read.
func OpenRun(dir string) (*RunDir, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, infoFile))
	if err != nil {
		return nil, fmt.Errorf("not a run directory: %w", err)
	}
	r := &RunDir{}
	if err := json.Unmarshal(data, &r.Info); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, infoFile), err)
	}
	if r.Info.Format != Format {
		return nil, fmt.Errorf("%s has format %d; this vmtb reads %d", dir, r.Info.Format, Format)
	}
	r.Info.Dir = dir
	// The lock before the journal: if the run ends in between, it still counts as alive.
	if r.Alive, err = locked(filepath.Join(dir, lockFile)); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(dir, journalFile))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil // vmtb died between writing the two files
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, facts, in, err := readStructure(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	r.Entries, r.Facts, r.size, r.lines, r.Torn = entries, facts, in.size, in.n, in.torn
	return r, nil
}

// All returns all entries, log lines included. If the run was opened from the disk, All reads its
// journal, one entry at a time. An error is the last value.
func (d *RunDir) All() iter.Seq2[Entry, error] {
	if d.size > 0 {
		return ReadPart(d.Info.Dir, 0, d.size)
	}
	return func(yield func(Entry, error) bool) {
		for _, e := range d.Entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Ended reports whether the journal has the end of the run. A run that is alive or died has none.
func (d *RunDir) Ended() bool {
	n := len(d.Entries)
	return n > 0 && d.Entries[n-1].Event == End && d.Entries[n-1].Phase == PhaseRun
}

// makeRunDir creates and locks dir. If dir exists, it must be empty. Closing the file unlocks it.
func makeRunDir(dir string) (lock *os.File, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, &bench.InfraError{Op: "create the run directory", Err: err}
	}
	lock, err = os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	names, lerr := os.ReadDir(dir)
	switch {
	case lerr == nil && (err != nil || len(names) > 1):
		if lock != nil {
			lock.Close()
			os.Remove(lock.Name())
		}
		return nil, &bench.UsageError{
			Err: fmt.Errorf("run directory %s is not empty", dir), Advice: "name a new directory",
		}
	case lerr != nil:
		err = lerr
	case err == nil:
		err = flock.Exclusive(lock)
	}
	if err != nil {
		return nil, &bench.InfraError{Op: "lock the run directory", Err: err}
	}
	return lock, nil
}

func locked(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = flock.Shared(f)
	if errors.Is(err, flock.ErrInUse) {
		return true, nil
	}
	return false, err
}

// writeInfo writes run.json: the whole file, or nothing.
func writeInfo(info Info) error {
	data, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(info.Dir, infoFile), append(data, '\n'), 0o644)
}

// identify sets the fields that identify this process and this boot of the host.
func (info *Info) identify() error {
	boot, err := procfs.BootID()
	if err != nil {
		return err
	}
	me, err := procfs.Self()
	info.BootID, info.PID, info.PIDStart, info.MachineID = boot, os.Getpid(), me.StartTime, procfs.MachineID()
	return err
}

// plan sets the folder of every item: a numbered folder for the class and parameter, and in it one
// for the case.
func plan(items []Item) []Item {
	out := make([]Item, len(items))
	var n int
	var last *group
	for i, it := range items {
		if it.group != last || n == 0 {
			n, last = n+1, it.group
		}
		it.Dir = filepath.Join(groupDir(n, it.ID), it.ID.Case)
		out[i] = it
	}
	return out
}

func groupDir(n int, id ID) string {
	parts := []string{fmt.Sprintf("%02d", n), id.File}
	for _, p := range []string{id.Class, slug(id.Param)} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "-")
}

// slug returns s without characters that are special to a shell or a web server, at most 80 bytes
// long.
func slug(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.'
		return !plain
	})
	s = strings.Join(words, "-")
	return s[:min(len(s), 80)]
}
