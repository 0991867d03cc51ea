package flow

import (
	"fmt"
	"slices"
	"strings"

	"vmtb/bench"
)

// A Policy decides how a run reacts to results. The zero Policy runs every case once, whatever the
// results are.
type Policy struct {
	RerunFailed int      `json:"rerun_failed,omitempty"` // reruns of a failed case, each on a new fixture
	Repeat      int      `json:"repeat,omitempty"`       // runs of a fixture with its cases, until one of them fails
	AbortOn     []string `json:"abort_on,omitempty"`     // what ends the run: words of AbortWords
	MaxFail     int      `json:"max_fail,omitempty"`     // number of failed cases that ends the run; 0 is no limit
}

// The rules of a [Watcher] that Policy.AbortOn may name.
const (
	RuleTaint   = "taint"   // a kernel became tainted
	RuleLockdep = "lockdep" // a kernel found a mistake in its locking
)

// AbortWords are the words that Policy.AbortOn may hold: results, and findings of a [Watcher].
var AbortWords = []string{
	string(Fail), string(Timeout), string(Error), string(Incomplete), string(DmesgFail), string(DmesgWarn),
	RuleTaint, RuleLockdep,
}

// Check returns a [bench.UsageError] if the policy is not valid.
func (p Policy) Check() error {
	bad := func(format string, args ...any) error { return &bench.UsageError{Err: fmt.Errorf(format, args...)} }
	if p.RerunFailed < 0 {
		return bad("--rerun-failed %d: want 0 or more", p.RerunFailed)
	}
	if p.MaxFail < 0 {
		return bad("--maxfail %d: want 0 (no limit) or more", p.MaxFail)
	}
	if p.Repeat < 0 {
		return bad("--repeat %d: want 1 or more", p.Repeat)
	}
	if p.Repeat > 1 && p.RerunFailed > 0 {
		return bad("--repeat runs flows until one fails, --rerun-failed until all pass: give only one of them")
	}
	for _, w := range p.AbortOn {
		if !slices.Contains(AbortWords, w) {
			return bad("--abort-on %q: want one or more of %s", w, strings.Join(AbortWords, ","))
		}
	}
	return nil
}

// A standing is the history of a case in this run.
type standing struct {
	attempts int    // number of attempts with a result
	last     Result // of the newest attempt; "" or notrun: no result yet
	mark     string // mark at which to enter the case again, after a reboot of the host
	waits    bool   // it was skipped because the case in its After did not pass
}

// ended updates the standing with the end of a case.
func (s *standing) ended(e Entry) {
	if e.Result == NotRun {
		if s.last == "" {
			s.last = NotRun
		}
		return
	}
	s.attempts, s.last, s.mark, s.waits = max(1, e.Attempt), e.Result, "", e.After != ""
}

// open reports whether the case has no result yet.
func (s standing) open() bool { return s.last == "" || s.last == NotRun }

// passed reports whether the last attempt passed.
func (s standing) passed() bool { return s.last == Pass || s.last == DmesgWarn }

// next returns the number of the next attempt. A case that is entered again after a reboot
// continues its last attempt.
func (s standing) next() int {
	if s.mark != "" {
		return s.attempts
	}
	return s.attempts + 1
}

// due returns the cases of a group that must run, or run again.
func (r *runner) due(items []Item) []Item {
	failed := func(it Item) bool { return !r.cases[it.ID].open() && !r.cases[it.ID].last.good() }
	anyFailed := slices.ContainsFunc(items, failed)
	var due []Item
	isDue := func(it Item) bool {
		s := r.cases[it.ID]
		switch {
		case s.open() || s.mark != "":
			return true
		case s.waits: // for the case in its After
			return r.cases[it.before()].passed() ||
				slices.ContainsFunc(due, func(d Item) bool { return d.ID == it.before() })
		case r.Policy.Repeat > 1:
			return !anyFailed && s.attempts < r.Policy.Repeat
		}
		return s.last.failed() && s.attempts <= r.Policy.RerunFailed
	}
	for _, it := range items {
		if isDue(it) {
			due = append(due, it)
		}
	}
	return due
}

// abortOn stops the run if the policy says so about the end of a case.
func (r *runner) abortOn(f *fixture, it Item, e Entry, found []Finding) {
	if it.Quarantine != nil {
		return
	}
	wanted := func(word string) bool { return slices.Contains(r.Policy.AbortOn, word) }
	for _, f := range found {
		if wanted(f.Rule) {
			r.stop(fmt.Errorf("%s: %s (--abort-on=%s)", it.ID, f, f.Rule))
			return
		}
	}
	if len(r.due([]Item{it})) > 0 {
		return // the case runs again
	}
	if r.Keep != nil && r.kept == nil && f != nil && f.env != nil && e.Result.failed() {
		r.kept = f
		r.stop(&failuresError{fmt.Errorf("%s: %s, and its fixture is kept", it.ID, e.Result)})
	}
	if wanted(string(e.Result)) {
		r.stop(fmt.Errorf("%s: %s (--abort-on)", it.ID, e.Result))
	}
	if n := r.summary.failures(); r.Policy.MaxFail > 0 && n >= r.Policy.MaxFail && !e.Result.good() {
		r.stop(&failuresError{fmt.Errorf("%d failed: --maxfail=%d ends the run", n, r.Policy.MaxFail)})
	}
}
