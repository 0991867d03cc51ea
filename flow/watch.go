package flow

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Watcher looks, while flows run, at what is not theirs: the logs of kernels. Its methods may be
// called from several goroutines, Enter and Leave in turn.
type Watcher interface {
	// Enter begins a phase: what is seen from now on belongs to it. dir is its folder.
	Enter(dir string)
	// Leave ends the phase, when all has been seen that happened in it, and returns what was found
	// wrong.
	Leave() []Finding
	// Follow watches the log of a machine, too: a file that grows. stop ends that.
	Follow(machine, path string) (stop func())
}

// A Finding is something that a Watcher saw and takes for wrong.
type Finding struct {
	Source string // "host", or a machine
	Rule   string // what it matched, or RuleTaint, RuleLockdep
	Fail   bool   // else it is a warning
	Text   string
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s (%s)", f.Source, f.Text, f.Rule) }

// unwatched is the Watcher of a run that has none.
type unwatched struct{}

func (unwatched) Enter(string)                     {}
func (unwatched) Leave() []Finding                 { return nil }
func (unwatched) Follow(string, string) (f func()) { return func() {} }

// leave ends a phase for the watcher, journals what it found, and returns what the flow does not
// allow.
func (r *runner) leave(p Phase, id ID, allow []*regexp.Regexp) []Finding {
	found := r.Watch.Leave()
	bad := found[:0:0]
	for _, f := range found {
		e := Entry{Event: Log, Phase: p, ID: id, Source: f.Source, Rule: f.Rule, Message: f.Text, Level: "WARN"}
		switch {
		case slices.ContainsFunc(allow, func(a *regexp.Regexp) bool { return a.MatchString(f.Text) }):
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

// judge lets findings worsen the end of a phase, which is good when its result is "", pass or skip.
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

// SourceHost is the source of what was found about the host.
const SourceHost = "host"

// withFindings is a reason with what else went wrong.
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
