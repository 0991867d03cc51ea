package terminal

import (
	"fmt"
	"strings"

	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/report/run"
)

// ANSI colours.
const (
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// words maps results to the words of the terminal.
var words = map[flow.Result]string{
	flow.Pass: "PASSED", flow.Fail: "FAILED", flow.Skip: "SKIPPED", flow.Error: "ERROR",
	flow.Timeout: "TIMEOUT", flow.Incomplete: "INCOMPLETE", flow.NotRun: "NOT RUN",
	flow.DmesgWarn: "DMESG-WARN", flow.DmesgFail: "DMESG-FAIL", run.Aborted: "ABORT",
}

func color(r flow.Result) string {
	switch r {
	case flow.Pass:
		return green
	case flow.Skip, flow.NotRun, flow.DmesgWarn:
		return yellow
	}
	return red
}

func (t *Terminal) word(r flow.Result) string { return t.paint(color(r), words[r]) }

func (t *Terminal) paint(color, s string) string {
	if !t.o.Color || s == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func (t *Terminal) width() int {
	if t.o.Width != nil {
		if w := t.o.Width(); w > 0 {
			return w
		}
	}
	return 80
}

// rule returns text in the middle of a line of dashes.
func (t *Terminal) rule(dash, text string) string {
	text = " " + run.Escape(text) + " "
	n := max(2, t.width()-run.Width(text))
	return strings.Repeat(dash, n/2) + text + strings.Repeat(dash, n-n/2)
}

// indent returns s, escaped, with two spaces before each line.
func indent(s string) string {
	return "  " + strings.ReplaceAll(run.Escape(strings.TrimRight(s, "\n")), "\n", "\n  ")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(run.Escape(s), "\n")
	return line
}

func took(e flow.Entry) string {
	if e.Duration == 0 {
		return ""
	}
	return " " + prose.Duration(e.Duration)
}

// mostLines is the number of line breaks up to which a message is shown whole.
const mostLines = 2

// logLine returns a log entry of a flow, or a failed step, on one line. Of a long message, such as a
// kernel's report with its stacks, it returns the first line: the other reports have all of it.
func logLine(e flow.Entry) string {
	if e.Phase == flow.PhaseStep {
		return fmt.Sprintf("%s: %s", run.Escape(e.Name), firstLine(e.Reason))
	}
	message := strings.TrimRight(e.Message, "\n")
	if n := strings.Count(message, "\n"); n > mostLines {
		return fmt.Sprintf("%s %s (and %d more lines)", e.Level, firstLine(message), n)
	}
	return e.Level + " " + strings.ReplaceAll(run.Escape(message), "\n", `\n`)
}
