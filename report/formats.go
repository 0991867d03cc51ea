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

// A Format is a kind of report that is a file or a directory of its own.
type Format struct {
	Name string // "junit"
	Path string // default path in the run directory
	Doc  string

	file   func(w io.Writer, dir fs.FS) Report
	stream bool // the report is written during the run
}

// Formats lists every format, in the order of the documentation.
var Formats = []Format{
	{Name: "results", Path: "results.json", Doc: "IGT's results.json, version 10", file: NewResults},
	{
		Name: "logfile", Path: "logfile.log", Doc: "everything in chronological order, with the machines' consoles",
		file: NewLogfile, stream: true,
	},
	{Name: "html", Path: "html", Doc: "pages for people; a directory"},
	{Name: "junit", Path: "junit.xml", Doc: "JUnit XML for Jenkins and GitLab", file: NewJUnit},
	{Name: "ktap", Path: "ktap.txt", Doc: "the kernel's Test Anything Protocol", file: NewKTAP},
	{Name: "lava", Path: "lava.txt", Doc: "LAVA's signals, as flows end", file: NewLAVA, stream: true},
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

// A Spec is a report that the user asks for.
type Spec struct {
	Format Format
	Path   string // "" is the format's default path, "-" is standard output
}

// ParseSpec parses "format" or "format:path". A mistake is a [bench.UsageError].
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

// Place returns the path of the report for the run in dir; "-" is standard output.
func (s Spec) Place(dir string) string {
	if s.Path == "" {
		return filepath.Join(dir, s.Format.Path)
	}
	return s.Path
}

// Default returns the reports that every run directory has.
func Default() []Spec { return []Spec{{Format: Formats[0]}, {Format: Formats[1]}} }

// Options are the inputs of a report.
type Options struct {
	Dir     string       // the run directory
	Stdout  io.Writer    // for the path "-"
	Earlier *flow.RunDir // the run to compare with; may be nil
}

// Check returns an error if the report of a run in dir cannot be written to its path. It leaves no
// files behind. It does not check a path inside dir, nor whether a FIFO has a reader. dir is "" if
// it is not known yet.
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

// targetError adds the format and path of the report to err.
func (s Spec) targetError(err error) error {
	if err == nil {
		return nil
	}
	return &bench.UsageError{Err: fmt.Errorf("report %s: %w", s.Format.Name, err)}
}

// Open opens a report. If the report cannot be written to its path, Open returns an error at once,
// so that a long run does not start in vain. The exception is a report inside the directory of a
// future run, which must be empty: Start opens it. Files exist and are complete when Close has
// returned. A log file grows during the run.
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

// A streamed report is a file that grows during the run.
type streamed struct {
	Report
	f *os.File
}

func (s *streamed) Close() error { return errors.Join(s.Report.Close(), s.f.Close()) }

// A replacing report is a file that replaces an older one when it is complete.
type replacing struct {
	Report
	out *output
}

// Close leaves the older file if there was no run.
func (r *replacing) Close() error {
	if err := r.Report.Close(); err != nil || !r.out.written {
		return errors.Join(err, r.out.Discard())
	}
	return r.out.Commit()
}

// An output is a file with a flag that is set by the first write.
type output struct {
	*atomicfile.File
	written bool
}

func (o *output) Write(p []byte) (int, error) {
	o.written = true
	return o.File.Write(p)
}
