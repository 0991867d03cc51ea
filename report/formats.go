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
	"vmtb/internal/atomicfile"
	"vmtb/report/html"
)

// A Format is a kind of report that goes into a file, or into a directory of its own.
type Format struct {
	Name string // "junit"
	Path string // its default place in the run directory
	Doc  string

	file   func(w io.Writer, dir fs.FS) Report
	stream bool // it is written as the run goes on
}

// Formats lists every format, in the order of the documentation.
var Formats = []Format{
	{Name: "results", Path: "results.json", Doc: "IGT's results.json, version 10", file: NewResults},
	{
		Name: "logfile", Path: "logfile.log", Doc: "everything in the order of time, with the machines' consoles",
		file: NewLogfile, stream: true,
	},
	{Name: "html", Path: "html", Doc: "pages for people; a directory"},
	{Name: "junit", Path: "junit.xml", Doc: "JUnit XML for Jenkins and GitLab", file: NewJUnit},
	{Name: "ktap", Path: "ktap.txt", Doc: "the kernel's Test Anything Protocol", file: NewKTAP},
	{Name: "lava", Path: "lava.txt", Doc: "LAVA's signals", file: NewLAVA},
	{Name: "lava-sh", Path: "lava.sh", Doc: "a script of lava-test-case calls", file: NewLAVAScript},
	{Name: "kcidb", Path: "kcidb.json", Doc: "KCIDB's schema 5.3", file: NewKCIDB},
}

// FormatNames returns the names of [Formats].
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
	Path   string // "" is the format's default place, "-" standard output
}

// ParseSpec reads "format" or "format:path". Errors are [bench.UsageError].
func ParseSpec(s string) (Spec, error) {
	name, path, given := strings.Cut(s, ":")
	i := slices.IndexFunc(Formats, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return Spec{}, &bench.UsageError{
			Err:    fmt.Errorf("--report=%s: there is no format %q", s, name),
			Advice: "there are " + strings.Join(FormatNames(), ", "),
		}
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

// Place returns the path of the report of the run in dir; "-" is standard output.
func (s Spec) Place(dir string) string {
	if s.Path == "" {
		return filepath.Join(dir, s.Format.Path)
	}
	return s.Path
}

// Default returns the reports that every run directory gets.
func Default() []Spec { return []Spec{{Format: Formats[0]}, {Format: Formats[1]}} }

// Options say what a report is made from.
type Options struct {
	Dir     string       // the run directory
	Stdout  io.Writer    // for the path "-"
	Earlier *flow.RunDir // to compare with; may be nil
}

// Check returns an error if the report of a run in dir cannot be written to its place, and leaves
// nothing behind. It does not check a place in dir itself, nor the reader of a FIFO. dir is empty
// if it is not known yet.
func (s Spec) Check(dir string) error {
	path := s.Path
	if path == "" || path == "-" || dir != "" && within(dir, path) {
		return nil
	}
	if s.Format.file == nil {
		path = filepath.Join(path, html.IndexPage)
	}
	return s.targetError(atomicfile.Check(path))
}

// targetError adds to err which report it belongs to.
func (s Spec) targetError(err error) error {
	if err == nil {
		return nil
	}
	return &bench.UsageError{Err: fmt.Errorf("report %s: %w", s.Format.Name, err)}
}

// Open opens a report. It returns an error at once if the report cannot be written to its place: a
// user learns that before a run of hours. A report in the directory of a run to come, which must be
// empty, is opened by its Start. Files exist, whole, when Close has returned. A log file grows as
// the run goes on.
func (s Spec) Open(o Options) (Report, error) {
	path := s.Place(o.Dir)
	open := func() (Report, error) {
		r, err := s.open(path, o)
		if err != nil {
			return nil, s.targetError(err)
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
	files := os.DirFS(o.Dir)
	if path == "-" {
		return s.Format.file(o.Stdout, files), nil
	}
	if s.Format.file == nil {
		return html.New(path, html.Options{Run: files, Dir: o.Dir, Earlier: o.Earlier})
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if s.Format.stream {
		f, err := atomicfile.Stream(path, 0o644)
		if err != nil {
			return nil, err
		}
		return &streamed{s.Format.file(f, files), f}, nil
	}
	f, err := atomicfile.Create(path, 0o644)
	if err != nil {
		return nil, err
	}
	out := &output{File: f}
	return &replacing{s.Format.file(out, files), out}, nil
}

// streamed is a report in a file that grows.
type streamed struct {
	Report
	f *os.File
}

func (s *streamed) Close() error { return errors.Join(s.Report.Close(), s.f.Close()) }

// replacing is a report in a file that exists only when it is whole.
type replacing struct {
	Report
	out *output
}

// Close leaves the file as it was if there was no run: there is nothing to report.
func (r *replacing) Close() error {
	if err := r.Report.Close(); err != nil || !r.out.written {
		return errors.Join(err, r.out.Discard())
	}
	return r.out.Commit()
}

// output is a file that knows whether anything was written to it.
type output struct {
	*atomicfile.File
	written bool
}

func (o *output) Write(p []byte) (int, error) {
	o.written = true
	return o.File.Write(p)
}
