package flow

import "time"

// Exit codes of a run. When several apply the first of 6, 130, 5, 1, 3 counts: a host that is not as it was matters
// most, and a failure that was seen matters more than a case of which nothing is known.
const (
	ExitPass        = 0   // every case passed or was skipped
	ExitFail        = 1   // a case failed or missed its deadline
	ExitUsage       = 2   // a flag, selection or configuration is wrong; nothing ran
	ExitError       = 3   // a fixture or the bench failed, in set-up, case or tear-down
	ExitNoMatch     = 4   // the selection matched nothing; nothing ran
	ExitAborted     = 5   // the run ended itself: its deadline, a full disk
	ExitNotRestored = 6   // the host could not be put back as it was
	ExitInterrupted = 130 // by the user
)

// A Summary is what a run came to.
type Summary struct {
	Dir        string // the run directory
	Counts     map[Result]int
	Total      int           // cases planned
	Errors     int           // tear-downs that failed, which belong to no case
	Unrestored string        // why the host is not as it was; "" when it is
	Stopped    string        // why the run ended early; "" when it did not
	Interrupt  bool          // it was the user who stopped it
	Duration   time.Duration // of the whole run
}

// Add counts an entry. The entries of a journal, added to a zero Summary, give the summary that Run returned.
func (s *Summary) Add(e Entry) {
	if e.Event != End {
		return
	}
	switch e.Phase {
	case PhaseCase:
		if s.Counts == nil {
			s.Counts = map[Result]int{}
		}
		s.Counts[e.Result]++
	case PhaseTearDown:
		if e.Result == Error {
			s.Errors++
		}
	case PhaseRestore:
		if e.Result == Error {
			s.Unrestored = e.Reason
		}
	case PhaseRun:
		s.Stopped, s.Interrupt, s.Duration = e.Reason, e.Result == Incomplete, e.Duration
	}
}

// ExitCode is the process's exit code for this run.
func (s Summary) ExitCode() int {
	c := s.Counts
	switch {
	case s.Unrestored != "":
		return ExitNotRestored
	case s.Interrupt:
		return ExitInterrupted
	case s.Stopped != "":
		return ExitAborted
	case c[Fail]+c[Timeout] > 0:
		return ExitFail
	case c[Error]+c[Incomplete]+c[NotRun]+s.Errors > 0:
		return ExitError
	}
	return ExitPass
}
