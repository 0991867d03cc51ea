package html

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"vmtb/flow"
	"vmtb/internal/atomicfile"
	"vmtb/internal/prose"
	"vmtb/report/run"
)

//go:embed *.tmpl report.css
var files embed.FS

// pages returns the templates. They are parsed when a report is made, not at the start of vmtb.
var pages = sync.OnceValue(func() *template.Template { return template.Must(template.ParseFS(files, "*.tmpl")) })

// IndexPage is the file name of the first page, which links to all others.
const IndexPage = "index.html"

// Options are the inputs of the pages.
type Options struct {
	Run     fs.FS        // the run directory
	Dir     string       // path of Run, for links
	Earlier *flow.RunDir // the run to compare with; may be nil
}

// New returns a report that writes pages into the directory at path: index.html, matrix.html, a
// page for each class and parameter, and report.css. If there is an earlier run, it also writes
// compare.html. New creates the directory, and returns an error if it cannot create files there.
func New(path string, o Options) (*run.Collector, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	probe, err := atomicfile.Create(filepath.Join(path, IndexPage), 0o644)
	if err != nil {
		return nil, err
	}
	if err := probe.Discard(); err != nil {
		return nil, err
	}
	out, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(out, dir)
	if err != nil {
		return nil, err
	}
	return &run.Collector{Write: func(h *run.History) error {
		s := &site{out: out, rel: filepath.ToSlash(rel), run: o.Run, h: h}
		if o.Earlier != nil {
			s.comparison = run.Compare(run.Read(o.Earlier), h)
		}
		return s.write()
	}}, nil
}

// A site is the set of pages during writing.
type site struct {
	out, rel   string // the directory of the pages, and the relative path from it to the run directory
	run        fs.FS
	h          *run.History
	comparison *run.Comparison
}

// A frame is the part that all pages have in common.
type frame struct {
	Title, Tab   string
	Version, Dir string
	Compared     bool
	Links        []link
}

type link struct{ Href, Name string }

func (s *site) write() error {
	css, err := files.ReadFile("report.css")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(s.out, "report.css"), css, 0o644); err != nil {
		return err
	}
	for _, g := range s.h.Groups {
		v, err := s.group(g)
		if err != nil {
			return err
		}
		if err := s.page(s.groupPage(g), "group", v); err != nil {
			return err
		}
	}
	if s.comparison != nil {
		if err := s.page("compare.html", "compare", s.compareView()); err != nil {
			return err
		}
	}
	if err := s.page("matrix.html", "matrix", s.matrix()); err != nil {
		return err
	}
	return s.page(IndexPage, "index", s.index())
}

func (s *site) page(name, tmpl string, view any) error {
	var b bytes.Buffer
	if err := pages().ExecuteTemplate(&b, tmpl, view); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(s.out, name), b.Bytes(), 0o644)
}

func (s *site) frame(title, tab string) frame {
	f := frame{
		Title: title, Tab: tab, Version: run.Clean(s.h.Info.Version),
		Dir: run.Clean(path.Base(filepath.ToSlash(s.h.Info.Dir))), Compared: s.comparison != nil,
	}
	for _, name := range []string{"logfile.log", "results.json", "journal.jsonl", "run.json"} {
		if s.exists(name) {
			f.Links = append(f.Links, link{s.href(name), name})
		}
	}
	return f
}

func (s *site) exists(name string) bool {
	_, err := fs.Stat(s.run, name)
	return err == nil
}

// href returns a link to a file of the run directory.
func (s *site) href(name string) string {
	parts := strings.Split(path.Join(s.rel, name), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	if parts[0] != ".." { // a colon in the first part would make the link an absolute URL
		return "./" + strings.Join(parts, "/")
	}
	return strings.Join(parts, "/")
}

// groupPage returns the file name of a group's page.
func (s *site) groupPage(g *run.Group) string {
	for i, other := range s.h.Groups {
		if other == g {
			return fmt.Sprintf("%03d-%s.html", i+1, run.PathName(g.ID))
		}
	}
	return ""
}

func (s *site) caseHref(id flow.ID) string {
	return s.groupPage(s.h.Group(id)) + "#" + caseAnchor(id)
}

func caseAnchor(id flow.ID) string { return "case-" + run.PathPart(id.Case) }

func classAnchor(id flow.ID) string { return "class-" + run.PathPart(run.ClassName(id)) }

// A tailView is the end of a file on a page.
type tailView struct {
	Name, Href, Bytes, Left string
	Size                    int64
	Open                    bool
	Lines                   []tailLine
}

type tailLine struct{ Class, Text string }

// shown is the number of bytes that a page shows from the end of a file.
const shown = 24 << 10

// tail returns the end of a file, with marks on lines that the kernel logged as errors ("<3>[...")
// or warnings.
func (s *site) tail(name, title string, open bool) (tailView, error) {
	t, err := run.ReadTail(s.run, name, shown)
	if err != nil || t.Size == 0 {
		return tailView{}, err
	}
	v := tailView{Name: title, Href: s.href(name), Bytes: prose.Bytes(t.Size), Size: t.Size, Open: open}
	if t.Left > 0 {
		v.Left = prose.Bytes(t.Left)
	}
	for line := range strings.Lines(strings.Trim(t.Text, "\n")) {
		v.Lines = append(v.Lines, tailLine{severity(line), strings.TrimRight(line, "\n")})
	}
	return v, nil
}

// severity returns the CSS class of a line of a kernel's log; "" for most lines.
func severity(line string) string {
	if len(line) > 3 && line[0] == '<' && line[2] == '>' {
		switch {
		case line[1] >= '0' && line[1] <= '3':
			return "severe"
		case line[1] == '4':
			return "warning"
		}
	}
	for _, sign := range []string{"BUG: ", "Oops: ", "Kernel panic", "Call Trace:", "WARNING: "} {
		if strings.Contains(line, sign) {
			return "severe"
		}
	}
	return ""
}
