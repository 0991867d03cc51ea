package report

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"vmtb/internal/ansi"
	"vmtb/internal/prose"
)

var nuls = regexp.MustCompile("\x00{2,}")

// clean is what a machine wrote as text that every format takes: valid UTF-8, lines end with \n, no commands for a
// terminal, and other characters that do not print are written out ("\x07"). What XML and JSON cannot hold is among these.
func clean(s string) string {
	s = ansi.Strip(s)
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	s = nuls.ReplaceAllStringFunc(s, func(run string) string { return fmt.Sprintf("\x00(%d times)", len(run)) })
	return escape(s)
}

// oneLine is clean text without line ends, at most n characters long.
func oneLine(s string, n int) string {
	s = s[:min(len(s), 16*n)]
	return cut(strings.ReplaceAll(strings.TrimSpace(clean(s)), "\n", " / "), n)
}

// lastBytes is the end of clean text, at most n bytes, from a line's beginning if there is one.
func lastBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "[...]\n"
	s = s[len(s)-max(0, n-len(mark)):]
	if i := strings.IndexByte(s, '\n'); i >= 0 && i < len(s)-1 {
		return mark + s[i+1:]
	}
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return mark + s
}

// A tail is the end of a file.
type tail struct {
	Path string // in the run directory
	Size int64  // of the whole file
	Text string // clean
	Left int64  // bytes before Text
}

// readTail reads at most the last n bytes of a file, whatever its size. A file that is not there is a tail of nothing.
func readTail(fsys fs.FS, name string, n int64) (tail, error) {
	t := tail{Path: name}
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
	t.Text = clean(text)
	return t, nil
}

// String is the text, below a line that says what is left out.
func (t tail) String() string {
	if t.Left == 0 {
		return t.Text
	}
	return fmt.Sprintf("[%s before this are left out: %s]\n%s", prose.Bytes(t.Left), t.Path, t.Text)
}

// machines are the folders of the machines in a fixture's folder: "vm0", "vm1". A folder with a command line is one.
func machines(fsys fs.FS, dir string) []string {
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

// kernelLogs are the files with kernel messages in a phase's folder: the host's, dmesg.txt, then the machines',
// console-vm0.txt and so on.
func kernelLogs(fsys fs.FS, dir string) []string {
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
