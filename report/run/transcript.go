package run

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"vmtb/flow"
)

// Transcript returns the steps and log lines of a phase by time, one on each line, as clean text.
// It reads the log lines from the journal. took formats the duration of a step.
func (p *Phase) Transcript(took func(time.Duration) string) string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for _, s := range p.Steps {
		text := "step " + OneLine(s.Name, 200) + ": " + took(s.Duration)
		if s.Result != "" {
			text += " " + string(s.Result) + " " + OneLine(s.Reason, 500)
		}
		lines = append(lines, line{s.Began, strings.TrimSpace(text)})
	}
	log, left, err := p.logLines()
	for _, e := range log {
		lines = append(lines, line{e.Time, e.Level + " " + strings.TrimRight(Clean(e.Message), "\n")})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var b strings.Builder
	if err != nil {
		fmt.Fprintf(&b, "[the log cannot be read: %s]\n", OneLine(err.Error(), 500))
	}
	if left > 0 {
		fmt.Fprintf(&b, "[%d lines and steps are left out: journal.jsonl]\n", left)
	}
	for _, l := range lines {
		fmt.Fprintf(&b, "%s  %s\n", l.at.UTC().Format("15:04:05.000"), l.text)
	}
	return b.String()
}

// Why returns the reason, place, blame and stack of the phase's result, as clean text; "" if there
// are none.
func (p *Phase) Why() string { return Why(p.Entry) }

// Why is [Phase.Why] for an end entry.
func Why(e flow.Entry) string {
	var b strings.Builder
	if e.Reason != "" {
		b.WriteString(strings.TrimRight(Clean(e.Reason), "\n") + "\n")
	}
	if e.Where != "" {
		b.WriteString("at: " + Clean(e.Where) + "\n")
	}
	if e.Blame != "" {
		b.WriteString("blame: " + Blamed(e.Blame) + "\n")
	}
	if e.Stack != "" {
		b.WriteString("stack:\n" + strings.TrimRight(Clean(e.Stack), "\n") + "\n")
	}
	return b.String()
}

// blames maps a blame to words.
var blames = map[flow.Blame]string{
	flow.BlameGuest: "the guest",
	flow.BlameHost:  "the host",
	flow.BlameInfra: "the test bench, not the tested software",
	flow.BlameUsage: "the command line or the configuration",
}

// Blamed returns a blame in words, such as "the guest".
func Blamed(b flow.Blame) string {
	if s := blames[b]; s != "" {
		return s
	}
	return Clean(string(b))
}
