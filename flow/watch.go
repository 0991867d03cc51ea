package flow

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Watcher watches the kernel logs while flows run. Several goroutines may call its methods. Calls
// of Enter and Leave alternate.
type Watcher interface {
	// Enter begins a phase: later messages belong to it. dir is its folder.
	Enter(dir string)
	// Leave ends the phase. It waits until all messages of the phase are read, and returns the
	// findings.
	Leave() []Finding
	// Follow also watches the log of a machine, a growing file, until stop is called.
	Follow(machine, path string) (stop func())
}

// A Finding is a kernel message, or a report of several lines, that a Watcher reports as wrong.
type Finding struct {
	Source string // "host", or the name of a machine
	Rule   string // name of the rule that it matched, or RuleTaint, RuleLockdep
	Fail   bool   // a failure; otherwise a warning
	Text   string // the message; further lines are the rest of its report
}

// String returns the message without the rest of its report, which only the journal has.
func (f Finding) String() string { return fmt.Sprintf("%s: %s (%s)", f.Source, f.headline(), f.Rule) }

func (f Finding) headline() string {
	line, _, _ := strings.Cut(f.Text, "\n")
	return line
}

// unwatched is the Watcher of a run without one.
type unwatched struct{}

func (unwatched) Enter(string)                     {}
func (unwatched) Leave() []Finding                 { return nil }
func (unwatched) Follow(string, string) (f func()) { return func() {} }

// leave ends a phase for the watcher and journals the findings. It returns the findings that the
// flow does not allow.
func (r *runner) leave(p Phase, id ID, allow []*regexp.Regexp) []Finding {
	found := r.Watch.Leave()
	bad := found[:0:0]
	for _, f := range found {
		e := Entry{Event: Log, Phase: p, ID: id, Source: f.Source, Rule: f.Rule, Message: f.Text, Level: "WARN"}
		switch {
		case slices.ContainsFunc(allow, func(a *regexp.Regexp) bool { return a.MatchString(f.headline()) }):
			e.Level = "INFO"
		case f.Fail:
			e.Level = "ERROR"
			bad = append(bad, f)
		default:
			bad = append(bad, f)
		}
		r.journal.append(e)
	}
	return bad
}

// judge lowers the result of a phase because of findings. A result of "", pass or skip becomes
// dmesg-fail or, except for skip, dmesg-warn.
func judge(e *Entry, found []Finding) {
	if len(found) == 0 {
		return
	}
	worst := found[0]
	if i := slices.IndexFunc(found, func(f Finding) bool { return f.Fail }); i >= 0 {
		worst = found[i]
	}
	switch good := e.Result == "" || e.Result.good(); {
	case good && worst.Fail:
		e.Result, e.Blame = DmesgFail, worst.blame()
	case good && e.Result != Skip:
		e.Result, e.Blame = DmesgWarn, worst.blame()
	}
	e.Reason = withFindings(e.Reason, found)
}

func (f Finding) blame() Blame {
	if f.Source == SourceHost {
		return BlameHost
	}
	return BlameGuest
}

// SourceHost is the source of findings in the log of the host.
const SourceHost = "host"

// withFindings returns the reason followed by the findings, at most 20.
func withFindings(reason string, found []Finding) string {
	const most = 20
	lines := make([]string, 0, len(found)+2)
	if reason != "" {
		lines = append(lines, reason)
	}
	for _, f := range found[:min(len(found), most)] {
		lines = append(lines, f.String())
	}
	if n := len(found) - most; n > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(lines, "\n")
}
