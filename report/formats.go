package report

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmtb/bench"
	"vmtb/flow"
)

// A Format is a kind of report that goes into a file, or into a directory of its own.
type Format struct {
	Name string // "junit"
	Path string // where in the run directory it goes if nobody says
	Doc  string

	file   func(w io.Writer, run fs.FS) Report
	stream bool // it is written as the run goes on
}

// Formats is every format, in the order of the documentation.
var Formats = []Format{
	{Name: "results", Path: "results.json", Doc: "IGT's results.json, version 10", file: NewResults},
	{Name: "logfile", Path: "logfile.log", Doc: "everything in the order of time, with the machines' consoles", file: NewLogfile, stream: true},
	{Name: "html", Path: "html", Doc: "pages for people; a directory"},
	{Name: "junit", Path: "junit.xml", Doc: "JUnit XML for Jenkins and GitLab", file: NewJUnit},
	{Name: "ktap", Path: "ktap.txt", Doc: "the kernel's Test Anything Protocol", file: NewKTAP},
	{Name: "lava", Path: "lava.txt", Doc: "LAVA's signals", file: NewLAVA},
	{Name: "lava-sh", Path: "lava.sh", Doc: "a script of lava-test-case calls", file: NewLAVAScript},
	{Name: "kcidb", Path: "kcidb.json", Doc: "KCIDB's schema 5.3", file: NewKCIDB},
}

// FormatNames are the names of Formats.
func FormatNames() []string {
	names := make([]string, len(Formats))
	for i, f := range Formats {
		names[i] = f.Name
	}
	return names
}

// A Spec is a report that a user asks for.
type Spec struct {
	Format Format
	Path   string // "" is the format's own in the run directory, "-" standard output
}

// ParseSpec reads "format" or "format:path".
func ParseSpec(s string) (Spec, error) {
	name, path, given := strings.Cut(s, ":")
	i := slices.IndexFunc(Formats, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return Spec{}, &bench.UsageError{Err: fmt.Errorf("--report=%s: there is no format %q", s, name), Advice: "there are " + strings.Join(FormatNames(), ", ")}
	}
	f := Formats[i]
	switch {
	case given && path == "":
		return Spec{}, &bench.UsageError{Err: fmt.Errorf("--report=%s: no path after the colon", s)}
	case path == "-" && f.file == nil:
		return Spec{}, &bench.UsageError{Err: fmt.Errorf("--report=%s: this report is a directory", s)}
	}
	return Spec{f, path}, nil
}

// Default are the reports that every run directory gets.
func Default() []Spec { return []Spec{{Format: Formats[0]}, {Format: Formats[1]}} }

// Options are what reports are made with.
type Options struct {
	Dir     string       // the run directory
	Stdout  io.Writer    // for the path "-"
	Earlier *flow.RunDir // to compare with; may be nil
}

// Open makes a report. It checks at once that the report can be written where it should be: that is known before a run
// of hours. What goes into the directory of a run to come, which must be empty, is opened by the report's Start. Files
// are there, whole, when Close has returned; a log file grows as the run goes on.
func (s Spec) Open(o Options) (Report, error) {
	path := s.Path
	if path == "" {
		path = filepath.Join(o.Dir, s.Format.Path)
	}
	open := func() (Report, error) {
		r, err := s.open(path, o)
		if err != nil {
			return nil, &bench.UsageError{Err: fmt.Errorf("report %s: %w", s.Format.Name, err)}
		}
		return r, nil
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "run.json")); err != nil && path != "-" && within(o.Dir, path) {
		return &late{open: open}, nil
	}
	return open()
}

func within(dir, path string) bool {
	dir, err1 := filepath.Abs(dir)
	path, err2 := filepath.Abs(path)
	rel, err3 := filepath.Rel(dir, path)
	return errors.Join(err1, err2, err3) == nil && filepath.IsLocal(rel)
}

// A late report is opened when the run begins.
type late struct {
	open func() (Report, error)
	r    Report
	err  error
}

func (l *late) Start(info flow.Info) {
	if l.r, l.err = l.open(); l.err == nil {
		l.r.Start(info)
	}
}

func (l *late) Entry(e flow.Entry) {
	if l.r != nil {
		l.r.Entry(e)
	}
}

func (l *late) Close() error {
	if l.r == nil {
		return l.err
	}
	return l.r.Close()
}

func (s Spec) open(path string, o Options) (Report, error) {
	run := os.DirFS(o.Dir)
	if path == "-" {
		return s.Format.file(o.Stdout, run), nil
	}
	if s.Format.file == nil {
		return NewHTML(path, HTMLOptions{Run: run, Dir: o.Dir, Earlier: o.Earlier})
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if s.Format.stream {
		f, err := os.Create(path)
		if err != nil {
			return nil, err
		}
		return &closing{s.Format.file(f, run), f.Close}, nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", path)
	}
	f := &replacement{path: path}
	return &closing{s.Format.file(f, run), f.commit}, nil
}

// closing is a report that has something to close when it is written.
type closing struct {
	Report
	close func() error
}

func (c *closing) Close() error { return errors.Join(c.Report.Close(), c.close()) }

// A replacement is a file that takes the place of another when it is whole.
type replacement struct {
	path string
	f    *os.File
	err  error
}

func (r *replacement) Write(p []byte) (int, error) {
	if r.f == nil && r.err == nil {
		r.f, r.err = os.CreateTemp(filepath.Dir(r.path), "."+filepath.Base(r.path)+"-*")
	}
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.f.Write(p)
	if err != nil {
		r.err = err
	}
	return n, err
}

func (r *replacement) commit() error {
	if r.f == nil {
		return nil // nothing was written, or Write has told why
	}
	err := errors.Join(r.err, r.f.Chmod(0o644), r.f.Close())
	if err == nil {
		err = os.Rename(r.f.Name(), r.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(r.f.Name()))
	}
	return nil
}

// writeFile replaces a file with data.
func writeFile(path string, data []byte) error {
	r := &replacement{path: path}
	_, err := r.Write(data)
	return errors.Join(err, r.commit())
}
