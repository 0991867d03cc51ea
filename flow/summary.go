package flow

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Exit codes of a run. If several apply, the first of 6, 130, 5, 1, 3 wins. A host that is not
// restored matters most. A failure matters more than a case about which nothing is known.
const (
	ExitPass        = 0   // every case passed or was skipped
	ExitFail        = 1   // a case failed or missed its deadline, or a kernel logged a failure
	ExitUsage       = 2   // a flag, selection or configuration is wrong; nothing ran
	ExitError       = 3   // a fixture or the bench failed, in set-up, case or tear-down
	ExitNoMatch     = 4   // the selection matched nothing; nothing ran
	ExitAborted     = 5   // the run ended itself: its deadline, a full disk, or --abort-on
	ExitNotRestored = 6   // the host could not be restored
	ExitInterrupted = 130 // by the user
)

// A Summary is the outcome of a run. If a case ran more than once, the last result counts.
type Summary struct {
	Dir         string // the run directory
	Counts      map[Result]int
	Quarantined map[Result]int // those of Counts that do not count for the exit code
	Total       int            // number of planned cases
	Errors      int            // number of failed tear-downs, which belong to no case
	DmesgFails  int            // number of tear-downs in which a kernel logged a failure
	Unrestored  string         // why the host is not restored; "" if it is
	Stopped     string         // why the run ended early; "" if it did not
	Interrupt   bool           // the user stopped the run
	Failed      bool           // failed flows stopped the run, and they decide the exit code
	Duration    time.Duration  // of the whole run, without the time between an end and a resume

	last       map[ID]Entry      // the end that counts, of each case
	unrestored map[string]string // why a DUT is not restored, by its name; the name is "" if the run is not merged
}

// Add adds an entry. The entries of a journal, added to a zero Summary, give the summary that Run
// returned.
func (s *Summary) Add(e Entry) {
	if e.Event == Begin && e.Phase == PhaseRun { // also the begin of a resumed run
		s.Stopped, s.Interrupt, s.Failed = "", false, false
	}
	if e.Event != End {
		return
	}
	switch e.Phase {
	case PhaseCase:
		s.addCase(e)
	case PhaseTearDown:
		s.addTearDown(e)
	case PhaseRestore:
		s.addTearDown(e)
		s.addRestore(e)
	case PhaseRun:
		s.Stopped, s.Interrupt, s.Failed = e.Reason, e.Result == Incomplete, e.Result == Fail
		s.Duration += e.Duration
	}
}

// addRestore records whether the host was restored. A successful restore has undone all pending
// changes of its DUT, also those of earlier fixtures.
func (s *Summary) addRestore(e Entry) {
	if s.unrestored == nil {
		s.unrestored = map[string]string{}
	}
	delete(s.unrestored, e.DUT)
	if e.Result == Error {
		s.unrestored[e.DUT] = e.Reason
	}
	var reasons []string
	for _, dut := range slices.Sorted(maps.Keys(s.unrestored)) {
		reason := s.unrestored[dut]
		if dut != "" {
			reason = dut + ": " + reason
		}
		reasons = append(reasons, reason)
	}
	s.Unrestored = strings.Join(reasons, "; ")
}

func (s *Summary) addTearDown(e Entry) {
	switch {
	case e.Result == DmesgFail:
		s.DmesgFails++
	case e.Result == Error && e.Phase == PhaseTearDown:
		s.Errors++
	}
}

func (s *Summary) addCase(e Entry) {
	if s.last == nil {
		s.last, s.Counts, s.Quarantined = map[ID]Entry{}, map[Result]int{}, map[Result]int{}
	}
	if e.ID != (ID{}) { // a reader may count cases without an id
		old, again := s.last[e.ID]
		if again && e.Result == NotRun {
			return
		}
		s.last[e.ID] = e
		if again {
			s.count(old, -1)
		}
	}
	s.count(e, 1)
}

func (s *Summary) count(e Entry, n int) {
	counts := []map[Result]int{s.Counts}
	if e.Quarantined {
		counts = append(counts, s.Quarantined)
	}
	for _, c := range counts {
		if c[e.Result] += n; c[e.Result] == 0 {
			delete(c, e.Result)
		}
	}
}

// failures returns the number of cases whose last result is a failure, without those in quarantine.
func (s *Summary) failures() int {
	n := 0
	for r, count := range s.Counts {
		if r.failed() {
			n += count - s.Quarantined[r]
		}
	}
	return n
}

// ExitCode returns the exit code of the process for this run.
func (s Summary) ExitCode() int {
	n := func(results ...Result) (n int) {
		for _, r := range results {
			n += s.Counts[r] - s.Quarantined[r]
		}
		return n
	}
	switch {
	case s.Unrestored != "":
		return ExitNotRestored
	case s.Interrupt:
		return ExitInterrupted
	case s.Stopped != "" && !s.Failed:
		return ExitAborted
	case n(Fail, Timeout, DmesgFail)+s.DmesgFails > 0:
		return ExitFail
	case n(Error, Incomplete, NotRun)+s.Errors > 0:
		return ExitError
	}
	return ExitPass
}
