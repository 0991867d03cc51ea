package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"vmtb/flow"
	"vmtb/internal/prose"
)

// ANSI colours.
const (
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// words are the results as they are printed.
var words = map[flow.Result]string{
	flow.Pass: "PASSED", flow.Fail: "FAILED", flow.Skip: "SKIPPED", flow.Error: "ERROR",
	flow.Timeout: "TIMEOUT", flow.Incomplete: "INCOMPLETE", flow.NotRun: "NOT RUN",
	flow.DmesgWarn: "DMESG-WARN", flow.DmesgFail: "DMESG-FAIL", aborted: "ABORT",
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

// rule is text in the middle of a line of dashes.
func (t *Terminal) rule(dash, text string) string {
	text = " " + escape(text) + " "
	n := max(2, t.width()-width(text))
	return strings.Repeat(dash, n/2) + text + strings.Repeat(dash, n-n/2)
}

// escape makes what must not reach a terminal visible: control characters, and others that do not print.
func escape(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\t':
			b.WriteString("    ")
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// indent is s, escaped, each line behind two spaces.
func indent(s string) string {
	return "  " + strings.ReplaceAll(escape(strings.TrimRight(s, "\n")), "\n", "\n  ")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(escape(s), "\n")
	return line
}

func width(s string) int { return utf8.RuneCountInString(s) }

// cut is s in at most n columns.
func cut(s string, n int) string {
	if width(s) <= n {
		return s
	}
	r := []rune(s)
	return string(r[:max(0, n-3)]) + "..."
}

func took(e flow.Entry) string {
	if e.Duration == 0 {
		return ""
	}
	return " " + prose.Duration(e.Duration)
}

// logLine is an entry of a flow's log, or a step that failed, on one line.
func logLine(e flow.Entry) string {
	if e.Phase == flow.PhaseStep {
		return fmt.Sprintf("%s: %s", escape(e.Name), firstLine(e.Reason))
	}
	return e.Level + " " + strings.ReplaceAll(escape(e.Message), "\n", `\n`)
}
