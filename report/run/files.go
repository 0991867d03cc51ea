package run

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"vmtb/internal/prose"
)

// A Tail is the end of a file.
type Tail struct {
	Path string // path in the run directory
	Size int64  // bytes of the whole file
	Text string // clean text
	Left int64  // bytes before Text in the file
}

// ReadTail returns at most the last n bytes of a file of any size. The tail of a missing file is
// empty.
func ReadTail(fsys fs.FS, name string, n int64) (Tail, error) {
	t := Tail{Path: name}
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return t, err
	}
	t.Size = info.Size()
	t.Left = max(0, t.Size-n)
	if t.Left > 0 {
		s, ok := f.(io.Seeker)
		if !ok {
			return t, fmt.Errorf("%s: cannot seek in it", name)
		}
		if _, err := s.Seek(t.Left, io.SeekStart); err != nil {
			return t, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, n))
	if err != nil {
		return t, err
	}
	text := string(data)
	if i := strings.IndexByte(text, '\n'); t.Left > 0 && i >= 0 {
		t.Left += int64(i) + 1
		text = text[i+1:]
	}
	t.Text = Clean(text)
	return t, nil
}

// String returns the text. If bytes are left out, a line before it says so.
func (t Tail) String() string {
	if t.Left == 0 {
		return t.Text
	}
	return fmt.Sprintf("[%s before this are left out: %s]\n%s", prose.Bytes(t.Left), t.Path, t.Text)
}

// Machines returns the folders of the machines in a fixture's folder, such as "vm0" and "vm1". A
// folder is a machine's if it has a command line (argv).
func Machines(fsys fs.FS, dir string) []string {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if _, err := fs.Stat(fsys, path.Join(name, "argv")); e.IsDir() && err == nil {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// KernelLogs returns the kernel log files in a phase's folder: dmesg.txt of the host, then
// console-vm0.txt and so on.
func KernelLogs(fsys fs.FS, dir string) []string {
	names, err := fs.Glob(fsys, path.Join(dir, "console-*.txt"))
	if err != nil {
		return nil
	}
	slices.Sort(names)
	host := path.Join(dir, "dmesg.txt")
	if _, err := fs.Stat(fsys, host); err != nil {
		return names
	}
	return append([]string{host}, names...)
}
