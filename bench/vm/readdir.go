package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
	"syscall"

	"vmtb/bench"
)

// Exit codes of listScript.
const (
	listMissing = 44
	listNotDir  = 45
)

// listScript lists the directory $1 as one letter for the type, the name and a NUL for each entry.
// It needs nothing but a POSIX shell (find -printf, stat -c and ls differ between GNU and busybox,
// and names may hold anything), and starts no process per entry.
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

// ReadDir implements [bench.Machine]: it asks the guest's shell, since the agent cannot list
// directories. dir is absolute.
func (g *Guest) ReadDir(ctx context.Context, dir string) ([]bench.DirEntry, error) {
	fail := func(err error) error { return &fs.PathError{Op: "readdir", Path: dir, Err: err} }
	if !path.IsAbs(dir) {
		return nil, fail(errors.New("not an absolute path"))
	}
	c := bench.Command{Argv: []string{"/bin/sh", "-c", listScript, "sh", dir}}
	r, err := g.Exec(ctx, c)
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
	return nil, g.life.guestError("", fail(err))
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
	// not slices.SortFunc: it makes the binary larger
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
	return entries, nil
}
