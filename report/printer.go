package report

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"vmtb/report/run"
)

// newWhole returns a report that calls write after the last entry. fsys is the run directory.
func newWhole(w io.Writer, fsys fs.FS, write func(p *printer, h *run.History)) Report {
	return &run.Collector{Write: func(h *run.History) error {
		p := newPrinter(w, fsys)
		write(p, h)
		p.flush()
		return p.err
	}}
}

// A printer writes to the report. It keeps the first error of the writer and of the files that it
// reads.
type printer struct {
	*bufio.Writer
	fsys fs.FS
	err  error
}

func newPrinter(w io.Writer, fsys fs.FS) *printer {
	return &printer{Writer: bufio.NewWriter(w), fsys: fsys}
}

func (p *printer) flush() { p.fail(p.Flush()) }

func (p *printer) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *printer) print(s string) {
	_, err := p.WriteString(s)
	p.fail(err)
}

// tail returns the last n bytes of a file of the run.
func (p *printer) tail(name string, n int64) run.Tail {
	t, err := run.ReadTail(p.fsys, name, n)
	p.fail(err)
	return t
}

// dmesg returns the kernel messages of an attempt, at most n bytes from each machine.
func (p *printer) dmesg(a *run.Phase, n int64) string {
	if a.Dir == "" {
		return ""
	}
	var b strings.Builder
	for i, name := range run.KernelLogs(p.fsys, a.Dir) {
		t := p.tail(name, n)
		if i > 0 && t.Text != "" {
			b.WriteString("-- " + name + " --\n")
		}
		b.WriteString(t.String())
	}
	return b.String()
}

// seconds2 returns a duration in seconds with its significant digits: "0.015s", "13.70s", "312s".
// Only reports for programs use it (results.json, JUnit, KTAP, KCIDB), which keep this form. Text
// for people uses prose.Duration.
func seconds2(d time.Duration) string {
	switch s := d.Seconds(); {
	case d < 0:
		return "0s"
	case s < 1:
		return fmt.Sprintf("%.3fs", s)
	case s < 100:
		return fmt.Sprintf("%.2fs", s)
	default:
		return fmt.Sprintf("%.0fs", s)
	}
}
