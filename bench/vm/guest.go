package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/bench/qmp"
)

// String is the machine's name.
func (m *VM) String() string { return m.spec.Name }

// Exec implements [bench.Machine] through the guest's agent.
func (m *VM) Exec(ctx context.Context, c bench.Command) (r bench.Result, err error) {
	err = m.ask(ctx, func(ctx context.Context) error {
		r, err = m.qga.Exec(ctx, c)
		return err
	})
	return r, err
}

// Start implements [bench.Machine] through the guest's agent.
func (m *VM) Start(ctx context.Context, c bench.Command) (bench.Process, error) {
	p := guestProcess{m: m}
	err := m.ask(ctx, func(ctx context.Context) (err error) {
		p.Process, err = m.qga.Start(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// A guestProcess is one whose troubles are judged as those of the machine's other methods.
type guestProcess struct {
	*qga.Process
	m *VM
}

func (p guestProcess) Signal(ctx context.Context, sig int) error {
	return p.m.ask(ctx, func(ctx context.Context) error { return p.Process.Signal(ctx, sig) })
}

func (p guestProcess) Wait(ctx context.Context) (r bench.Result, err error) {
	err = p.m.ask(ctx, func(ctx context.Context) error {
		r, err = p.Process.Wait(ctx)
		return err
	})
	return r, err
}

func (p guestProcess) Kill(ctx context.Context) (r bench.Result, err error) {
	err = p.m.ask(ctx, func(ctx context.Context) error {
		r, err = p.Process.Kill(ctx)
		return err
	})
	return r, err
}

// ReadFile implements [bench.Machine] through the guest's agent.
func (m *VM) ReadFile(ctx context.Context, name string) (data []byte, err error) {
	err = m.ask(ctx, func(ctx context.Context) error {
		data, err = m.qga.ReadFile(ctx, name)
		return err
	})
	return data, err
}

// WriteFile implements [bench.Machine] through the guest's agent.
func (m *VM) WriteFile(ctx context.Context, name string, data []byte) error {
	return m.ask(ctx, func(ctx context.Context) error { return m.qga.WriteFile(ctx, name, data) })
}

// ReadFileTo writes a whole file of the guest to w, of any size, in constant memory.
func (m *VM) ReadFileTo(ctx context.Context, name string, w io.Writer) error {
	return m.ask(ctx, func(ctx context.Context) error { return m.qga.ReadFileTo(ctx, name, w) })
}

// WriteFileFrom makes what r has the whole content of a file of the guest, of any size, in constant memory.
func (m *VM) WriteFileFrom(ctx context.Context, name string, r io.Reader) error {
	return m.ask(ctx, func(ctx context.Context) error { return m.qga.WriteFileFrom(ctx, name, r) })
}

// ask does something with the guest, no longer than the machine lives.
func (m *VM) ask(ctx context.Context, do func(context.Context) error) error {
	bound, cancel := m.bind(ctx)
	defer cancel()
	if err := m.canAnswer(bound); err != nil {
		return err
	}
	err := do(bound)
	switch alive := ctx.Err() == nil && m.life.Err() == nil && !errors.Is(err, qmp.ErrClosed); {
	case err == nil:
		return nil
	case alive && errors.As(err, new(*bench.InfraError)): // not the guest's fault
		return err
	case alive:
		return m.guestError("", m.silent(ctx, err))
	}
	return m.because("ask the guest", err)
}

// canAnswer is nil unless the guest stands still, so that it will not answer until somebody else lets it. While its state is
// saved or loaded, it soon will.
func (m *VM) canAnswer(ctx context.Context) error {
	m.guest.mu.Lock()
	stopped := m.guest.stopped
	m.guest.mu.Unlock()
	if !stopped {
		return nil
	}
	return m.expect(ctx, "ask the guest", Running, Saving, Restoring)
}

// Exit codes of listScript.
const (
	listMissing = 44
	listNotDir  = 45
)

// listScript lists the directory $1 as one letter for the type, the name and a NUL for each entry. It needs nothing
// but a POSIX shell (find -printf, stat -c and ls differ between GNU and busybox, and names may hold anything), and
// starts no process per entry.
const listScript = `LC_ALL=C
[ -e "$1" ] || [ -L "$1" ] || exit 44
cd "$1" 2>/dev/null || { [ -d "$1" ] || exit 45; cd "$1"; }
[ -r . ] || { echo "no permission to read $1" >&2; exit 1; }
for f in * .[!.]* ..?*; do
	if [ -L "./$f" ]; then t=l
	elif [ -d "./$f" ]; then t=d
	elif [ -f "./$f" ]; then t=f
	elif [ -c "./$f" ]; then t=c
	elif [ -b "./$f" ]; then t=b
	elif [ -p "./$f" ]; then t=p
	elif [ -S "./$f" ]; then t=s
	elif [ -e "./$f" ]; then t=u
	else continue
	fi
	printf '%s%s\0' $t "$f"
done`

var listTypes = map[byte]fs.FileMode{
	'l': fs.ModeSymlink, 'd': fs.ModeDir, 'f': 0, 'c': fs.ModeDevice | fs.ModeCharDevice, 'b': fs.ModeDevice,
	'p': fs.ModeNamedPipe, 's': fs.ModeSocket, 'u': fs.ModeIrregular,
}

// ReadDir implements [bench.Machine]: it asks the guest's shell, since the agent cannot list directories.
// dir is absolute.
func (m *VM) ReadDir(ctx context.Context, dir string) ([]bench.DirEntry, error) {
	fail := func(err error) error { return &fs.PathError{Op: "readdir", Path: dir, Err: err} }
	if !path.IsAbs(dir) {
		return nil, fail(errors.New("not an absolute path"))
	}
	c := bench.Command{Argv: []string{"/bin/sh", "-c", listScript, "sh", dir}}
	r, err := m.Exec(ctx, c)
	switch {
	case err != nil:
		return nil, err
	case r.OK() && r.StdoutTruncated:
		err = errors.New("too many entries for the agent")
	case r.OK():
		return parseList(string(r.Stdout))
	case r.ExitCode == listMissing:
		err = fs.ErrNotExist
	case r.ExitCode == listNotDir:
		err = syscall.ENOTDIR
	default:
		err = errors.New(bench.Tail(r.Stderr, 3))
	}
	return nil, m.guestError("", fail(err))
}

// parseList reads what listScript writes.
func parseList(out string) ([]bench.DirEntry, error) {
	var entries []bench.DirEntry
	for _, e := range strings.SplitAfter(out, "\x00") {
		if e == "" {
			continue
		}
		mode, ok := listTypes[e[0]]
		if !ok || len(e) < 3 || e[len(e)-1] != 0 {
			return nil, fmt.Errorf("directory entry %q: want a type, a name and a NUL", e)
		}
		entries = append(entries, bench.DirEntry{Name: e[1 : len(e)-1], Mode: mode})
	}
	slices.SortFunc(entries, func(a, b bench.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}
