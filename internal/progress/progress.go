package progress

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"vmtb/internal/prose"
)

// A Progress shows the current step and its duration. On a terminal it draws one line again each
// second. In a log it writes a line at the start, each half minute, and at the end of each step.
type Progress struct {
	out   io.Writer
	who   string
	width func() int
}

// New returns a Progress that writes to out, with the label who. For a terminal that can redraw
// lines, width returns its number of columns (0: unknown). For a log, width is nil.
func New(out io.Writer, who string, width func() int) *Progress { return &Progress{out, who, width} }

// Printf writes a line between steps.
func (p *Progress) Printf(format string, args ...any) {
	fmt.Fprintf(p.out, p.who+": "+format+"\n", args...)
}

// Step runs f. f may write output to log, whose last line is shown after the name of the step.
func (p *Progress) Step(name string, f func(log io.Writer) error) error {
	start := time.Now()
	var last lastLine
	stop := p.watch(name, start, &last)
	err := f(&last)
	stop()
	end := "done"
	if err != nil {
		end = "FAILED"
	}
	p.Printf("%s: %s after %s", name, end, prose.Duration(time.Since(start)))
	return err
}

func (p *Progress) watch(name string, start time.Time, last *lastLine) (stop func()) {
	every, show, erase := time.Second, p.draw, "\r\033[K"
	if p.width == nil {
		every, show, erase = logEvery, p.Printf, ""
		p.Printf("%s ...", name)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			if p.width != nil || time.Since(start) >= every {
				show("%s: %s  %s", name, prose.Duration(time.Since(start).Truncate(time.Second)), last)
			}
			select {
			case <-tick.C:
			case <-done:
				fmt.Fprint(p.out, erase)
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// logEvery is the interval of lines about a running step in a log.
const logEvery = 30 * time.Second

// draw redraws the line on a terminal.
func (p *Progress) draw(format string, args ...any) {
	line := fmt.Sprintf(p.who+": "+format, args...)
	// After a full row the terminal would begin another.
	fmt.Fprintf(p.out, "\r\033[K%.*s", cmp.Or(p.width(), 80)-1, line)
}

// lastLine keeps the last complete line written to it, made printable.
type lastLine struct {
	mu         sync.Mutex
	part, line string
}

func (l *lastLine) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := strings.Split(l.part+string(b), "\n")
	l.part = lines[len(lines)-1]
	if len(lines) > 1 {
		l.line = lines[len(lines)-2]
	}
	return len(b), nil
}

func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, l.line)
}
