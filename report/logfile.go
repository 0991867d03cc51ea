package report

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/report/run"
)

// logConsole is the number of bytes from the end of each console in a log file.
const logConsole = 256 << 10

// A logfile is the logfile.log of the Python tool, written during the run: a line "time level
// logger: message" for each entry. When a fixture is gone, the consoles of its machines follow;
// they contain the machines' kernel logs.
type logfile struct {
	p     printer
	began map[string]time.Time // key: folder of a fixture whose consoles are not written yet
}

// NewLogfile returns a report that writes a log file to w. fsys is the run directory.
func NewLogfile(w io.Writer, fsys fs.FS) Report {
	return &logfile{p: *newPrinter(w, fsys), began: map[string]time.Time{}}
}

func (l *logfile) Start(info flow.Info) {
	l.line(info.Start, "INFO", "vmtb", fmt.Sprintf("vmtb %s on %s", info.Version, info.DUT))
	l.line(info.Start, "INFO", "vmtb", "command line: "+strings.Join(info.Argv, " "))
	if s := info.Participants(); s != "" {
		l.line(info.Start, "INFO", "vmtb", s)
	}
	for _, n := range info.Notes {
		l.line(info.Start, "INFO", "vmtb", n)
	}
	l.line(info.Start, "INFO", "vmtb", fmt.Sprintf("selected: %d", len(info.Plan)))
	l.p.flush()
}

func (l *logfile) Entry(e flow.Entry) {
	level := "INFO"
	var message string
	switch e.Event {
	case flow.Begin:
		level, message = "DEBUG", "begin "+subject(e)
	case flow.End:
		message = "end " + subject(e) + ending(e)
		if e.Result != "" && run.KindOf(e.Result) != run.Good {
			level = "WARNING"
			if run.Failed(e.Result) {
				level = "ERROR"
			}
		}
	default:
		level, message = map[string]string{"WARN": "WARNING", "": "INFO"}[e.Level], e.Message
		if level == "" {
			level = e.Level
		}
	}
	logger := "vmtb"
	if e.ID != (flow.ID{}) {
		logger = e.ID.String()
	}
	l.line(e.Time, level, logger, message)
	l.consoles(e)
	l.p.flush()
}

// consoles writes the consoles of a fixture after its restore, or at the end of the run.
func (l *logfile) consoles(e flow.Entry) {
	switch {
	case e.Event == flow.Begin && e.Phase == flow.PhaseSetUp && e.Dir != "":
		l.began[e.Dir] = e.Time
	case e.Event == flow.End && e.Phase == flow.PhaseRestore:
		l.console(e.Dir, e.Time)
	case e.Event == flow.End && e.Phase == flow.PhaseRun:
		l.rest(e.Time)
	}
}

func (l *logfile) rest(at time.Time) {
	for dir := range l.began {
		l.console(dir, at)
	}
}

func (l *logfile) console(dir string, at time.Time) {
	if _, ok := l.began[dir]; !ok {
		return
	}
	delete(l.began, dir)
	for _, m := range run.Machines(l.p.fsys, dir) {
		t := l.p.tail(path.Join(m, "console.log"), logConsole)
		if t.Size > 0 {
			l.line(at, "DEBUG", path.Base(m), "console, "+m+":\n"+t.String())
		}
	}
}

func (l *logfile) Close() error {
	l.rest(time.Time{})
	l.p.flush()
	return l.p.err
}

// line writes a message. Every line of the message begins with time, level and logger, so that grep
// finds all of them.
func (l *logfile) line(at time.Time, level, logger, message string) {
	stamp := strings.Repeat(" ", len(stampFormat))
	if !at.IsZero() {
		stamp = at.UTC().Format(stampFormat)
	}
	for line := range strings.Lines(strings.TrimRight(run.Clean(message), "\n") + "\n") {
		l.p.print(
			fmt.Sprintf(
				"%s %-7s %s: %s\n", stamp, run.OneLine(level, 20), run.OneLine(logger, 300),
				strings.TrimRight(line, "\n"),
			),
		)
	}
}

// stampFormat is the time format of Python's logging module, in UTC.
const stampFormat = "2006-01-02 15:04:05,000"

// subject returns the subject of an entry, such as "step boot 1 VM".
func subject(e flow.Entry) string {
	if e.Name != "" {
		return string(e.Phase) + " " + e.Name + run.On(e)
	}
	return string(e.Phase) + run.On(e)
}

// ending returns the end of a phase as text, such as " after 1.2 s: fail\nreason".
func ending(e flow.Entry) string {
	s := " after " + prose.Duration(e.Duration)
	if e.Result != "" {
		s += ": " + string(e.Result)
	}
	if why := run.Why(e); why != "" {
		s += "\n" + why
	}
	return s
}
