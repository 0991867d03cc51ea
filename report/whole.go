package report

import (
	"bufio"
	"io"
	"io/fs"
	"strings"

	"vmtb/flow"
)

// A whole is a report that is written when all entries have been seen.
type whole struct {
	*history
	write func(*history) error
}

func (w *whole) Start(info flow.Info) { w.history = newHistory(info) }
func (w *whole) Entry(e flow.Entry)   { w.add(e) }

func (w *whole) Close() error {
	if w.history == nil {
		return nil
	}
	w.finish()
	return w.write(w.history)
}

// newWhole is a whole that write writes to w; fsys is the run directory.
func newWhole(w io.Writer, fsys fs.FS, write func(p *printer, h *history)) Report {
	return &whole{write: func(h *history) error {
		p := newPrinter(w, fsys)
		write(p, h)
		p.flush()
		return p.err
	}}
}

// A printer writes, and remembers the first error, of the writer and of what was read.
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

// tail reads the end of a file of the run.
func (p *printer) tail(name string, n int64) tail {
	t, err := readTail(p.fsys, name, n)
	p.fail(err)
	return t
}

// dmesg is the kernel messages that came during an attempt, of every machine at most n bytes.
func (p *printer) dmesg(a *phase, n int64) string {
	if a.Dir == "" {
		return ""
	}
	var b strings.Builder
	for i, name := range kernelLogs(p.fsys, a.Dir) {
		t := p.tail(name, n)
		if i > 0 && t.Text != "" {
			b.WriteString("-- " + name + " --\n")
		}
		b.WriteString(t.String())
	}
	return b.String()
}
