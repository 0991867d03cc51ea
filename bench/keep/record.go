package keep

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/bench/vm"
	"vmtb/internal/atomicfile"
	"vmtb/internal/flock"
)

// These are the files in a machine's folder.
const (
	recordFile  = "machine.json"
	controlFile = "control"
	lockFile    = "lock" // in the directory of all machines
	// UndoFile is the journal of the keeper's changes of the host.
	UndoFile = "undo.jsonl"
	// LogFile is the keeper's own log.
	LogFile = "keeper.log"
)

// A Record describes a machine without its keeper: the content of machine.json.
type Record struct {
	Name    string    `json:"name"`
	Spec    vm.Spec   `json:"spec"`  // as it was started, but with its current VFs
	Scale   float64   `json:"scale"` // multiplies every deadline
	Started time.Time `json:"started"`
	Keeper  int       `json:"keeper"` // pid
	Ended   time.Time `json:"ended,omitzero"`
	Reason  string    `json:"reason,omitempty"` // why the machine has ended
	Logs    string    `json:"logs,omitempty"`   // folder of the logs after a migration; see LogDir
	// NotRestored says why the keeper could not restore the host. "vmtb recover" may have restored
	// it since: see [Record.Life].
	NotRestored string `json:"not_restored,omitempty"`

	// Dir is the machine's folder. It is not in the file, because a folder may be moved.
	Dir string `json:"-"`
}

// LogDir returns the folder of the logs of the machine's QEMU: Dir, or a folder in it after a
// migration.
func (r Record) LogDir() string { return cmp.Or(r.Logs, r.Dir) }

// A Store is a directory of kept machines. Each machine has a folder in it.
type Store struct {
	Dir     string
	Prefix  string // prefix of generated names; "" stands for "vm"
	Command string // command for these machines, used in advice; "" stands for "vmtb vm"
	End     string // subcommand that ends a machine; "" stands for "off"
}

// verb returns the command line of subcommand v for these machines.
func (s Store) verb(v string) string { return cmp.Or(s.Command, "vmtb vm") + " " + v }

// ending returns the command line that ends a machine.
func (s Store) ending() string { return s.verb(cmp.Or(s.End, "off")) }

var nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$`)

// CheckName returns an error if name is not a valid machine name.
func CheckName(name string) error {
	if nameRE.MatchString(name) {
		return nil
	}
	return &bench.UsageError{Err: fmt.Errorf(
		"machine %q: want up to 32 letters, digits, '-' and '_', a letter or digit first", name,
	)}
}

// lock reserves the names while a machine starts. Until its keeper listens, nothing else shows that
// its name is taken.
func (s Store) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, s.failed("make the folder of machines", err)
	}
	f, err := os.OpenFile(filepath.Join(s.Dir, lockFile), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, s.failed("lock the folder of machines", err)
	}
	if err := flock.Wait(ctx, f); err != nil {
		f.Close()
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, s.failed("lock the folder of machines", err)
	}
	return func() { f.Close() }, nil
}

// Start starts a machine with a keeper, and returns when QEMU runs. A machine without a name gets
// the first free one of vm0, vm1 and so on. argv returns the keeper's command line for the
// machine's folder: a program that calls [Run] with [Started]. If ctx ends before Start returns,
// the keeper ends, too.
func (s Store) Start(ctx context.Context, r Record, argv func(dir string) []string) (*Client, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if r.Name == "" {
		r.Name = s.freeName()
	}
	r.Spec.Name = r.Name
	if r, err = s.create(r); err != nil {
		return nil, err
	}
	return r.spawn(ctx, argv(r.Dir))
}

func (s Store) freeName() string {
	for n := 0; ; n++ {
		if name := fmt.Sprintf("%s%d", cmp.Or(s.Prefix, "vm"), n); !alive(filepath.Join(s.Dir, name)) {
			return name
		}
	}
}

// create makes the folder of a new machine. It replaces the folder of an ended machine with the
// same name if that left no changes on the host.
func (s Store) create(r Record) (Record, error) {
	if err := errors.Join(CheckName(r.Name), r.Spec.Validate()); err != nil {
		return r, err
	}
	r.Dir = filepath.Join(s.Dir, r.Name)
	if err := s.makeRoom(r); err != nil {
		return r, err
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return r, s.failed("make the machine's folder", err)
	}
	return r, r.write()
}

// makeRoom removes the folder of an ended machine with the same name.
func (s Store) makeRoom(r Record) error {
	old, err := readRecord(r.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	old.Dir = r.Dir // also if the old record cannot be read
	switch old.Life() {
	case Living:
		return &bench.UsageError{
			Err:    fmt.Errorf("a machine %s exists already", r.Name),
			Advice: s.verb("list") + " shows it; " + s.ending() + " ends it",
		}
	case Died:
		how := "of an earlier machine %s died, and may have left changes on this host"
		if !old.Ended.IsZero() {
			how = "of an earlier machine %s could not restore this host"
		}
		return &bench.UsageError{
			Err: fmt.Errorf("the keeper "+how, r.Name), Advice: "vmtb recover undoes them",
		}
	}
	return s.failed("remove the folder of an earlier machine", os.RemoveAll(r.Dir))
}

func (s Store) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	e := &bench.InfraError{Op: op, Err: err}
	if errors.Is(err, fs.ErrPermission) {
		e.Advice = "run as root"
	}
	return e
}

// write writes the record to its folder atomically.
func (r Record) write() error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(r.Dir, recordFile)
	if err := atomicfile.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return &bench.InfraError{Op: "write the machine's record", Err: err}
	}
	return nil
}

func readRecord(dir string) (r Record, err error) {
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, &bench.InfraError{
			Op: "read " + filepath.Join(dir, recordFile), Err: err,
			Advice: "remove the folder if the machine has ended",
		}
	}
	r.Dir = dir
	return r, nil
}

// Get returns the record of a machine, alive or not.
func (s Store) Get(name string) (Record, error) {
	if err := CheckName(name); err != nil {
		return Record{}, err
	}
	r, err := readRecord(filepath.Join(s.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return r, s.none(name)
	}
	return r, err
}

// none returns the error for a machine that does not exist.
func (s Store) none(name string) error {
	return &bench.UsageError{Err: fmt.Errorf("there is no machine %s", name), Advice: s.others()}
}

// others returns advice that names the living machines.
func (s Store) others() string {
	all, _ := s.List() // an unreadable record is reported elsewhere
	var names []string
	for _, r := range all {
		if r.Life() == Living {
			names = append(names, r.Name)
		}
	}
	if len(names) == 0 {
		return s.verb("start") + " starts one"
	}
	return "there are: " + strings.Join(names, ", ")
}

// List returns the records of all machines, alive or not, sorted by name.
func (s Store) List() ([]Record, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, s.failed("look for machines", err)
	}
	var list []Record
	for _, e := range entries { // sorted by file name, which is the machine's name
		if !e.IsDir() {
			continue
		}
		r, err := readRecord(filepath.Join(s.Dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the machine is being created or removed
		}
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// A Life is the state of a kept machine.
type Life int

// These are the states.
const (
	Living Life = iota // the keeper answers on its socket
	// The keeper was killed or could not restore the host, which is still changed.
	Died
	Ended // the machine is gone; only its logs are left
)

// Life returns the machine's state.
func (r Record) Life() Life {
	switch {
	case alive(r.Dir):
		return Living
	case r.leftSomething():
		return Died
	}
	return Ended
}

// leftSomething reports whether the journal of a dead keeper has pending changes. It takes no lock:
// "vmtb recover" may be about to open the journal.
func (r Record) leftSomething() bool {
	pending, err := undo.Peek(filepath.Join(r.Dir, UndoFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false // the keeper had not begun
	}
	return err != nil || len(pending) > 0 // an unreadable journal may have pending changes
}

// End returns a text that says when and why a machine has ended.
func (r Record) End() string {
	if r.Ended.IsZero() {
		return fmt.Sprintf("its keeper (pid %d) was killed", r.Keeper)
	}
	text := r.Ended.Local().Format(time.DateTime) + ": " + r.Reason
	if r.NotRestored != "" && r.leftSomething() {
		text += "\nthe host is not restored: " + r.NotRestored
	}
	return strings.ReplaceAll(text, "\n", "; ")
}
