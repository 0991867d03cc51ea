package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"vmtb/flow"
)

// transcript is what a phase said, as clean text: its steps and log lines in the order of time. took writes the time of a
// step: [prose.Duration] for people, [seconds2] for programs.
func (p *phase) transcript(took func(time.Duration) string) string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for _, s := range p.steps {
		text := "step " + oneLine(s.Name, 200) + ": " + took(s.Duration)
		if s.Result != "" {
			text += " " + string(s.Result) + " " + oneLine(s.Reason, 500)
		}
		lines = append(lines, line{s.began, strings.TrimSpace(text)})
	}
	for _, e := range p.log {
		lines = append(lines, line{e.Time, logText(e)})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var b strings.Builder
	if p.left > 0 {
		fmt.Fprintf(&b, "[%d lines and steps are left out: journal.jsonl]\n", p.left)
	}
	for _, l := range lines {
		fmt.Fprintf(&b, "%s  %s\n", l.at.UTC().Format("15:04:05.000"), l.text)
	}
	return b.String()
}

// logText is a line of a flow's log.
func logText(e flow.Entry) string { return e.Level + " " + strings.TrimRight(clean(e.Message), "\n") }

// why is the reason of a result with what else is known of it, as clean text; "" when there is nothing to say.
func (p *phase) why() string {
	var b strings.Builder
	if p.Reason != "" {
		b.WriteString(strings.TrimRight(clean(p.Reason), "\n") + "\n")
	}
	if p.Where != "" {
		b.WriteString("at: " + clean(p.Where) + "\n")
	}
	if p.Blame != "" {
		b.WriteString("blame: " + blame(p.Blame) + "\n")
	}
	if p.Stack != "" {
		b.WriteString("stack:\n" + strings.TrimRight(clean(p.Stack), "\n") + "\n")
	}
	return b.String()
}

func blame(b flow.Blame) string {
	if s := blames[b]; s != "" {
		return s
	}
	return clean(string(b))
}

// seconds2 is a duration in seconds with as many digits as it is worth: "0.015s", "13.70s", "312s". It is for reports that
// programs read (results.json, JUnit, KTAP, KCIDB), which keep this form; people get [prose.Duration].
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
