package flow

import "time"

// A Result is how a case ended.
type Result string

// The results, most of them IGT's words.
const (
	Pass       Result = "pass"
	Fail       Result = "fail"       // the software under test did not do what it should
	Skip       Result = "skip"       // a precondition is missing here; there is a reason
	Error      Result = "error"      // the fixture or the bench failed: nothing is known about the case
	Timeout    Result = "timeout"    // the case missed its deadline
	Incomplete Result = "incomplete" // cut off in flight: interrupted, or the host died
	NotRun     Result = "notrun"     // never begun
)

// Results is every result, in the order in which a summary names them.
var Results = []Result{Fail, Timeout, Error, Incomplete, Pass, Skip, NotRun}

// An Event says what an entry of the journal is.
type Event string

// A phase begins and ends; a log line comes in between.
const (
	Begin Event = "begin"
	End   Event = "end"
	Log   Event = "log"
)

// A Phase is what begins and ends. Phases nest: the run, then a fixture's phases and cases, then steps.
type Phase string

// The phases.
const (
	PhaseRun      Phase = "run"
	PhaseNeeds    Phase = "needs" // preconditions
	PhaseSetUp    Phase = "set-up"
	PhaseCase     Phase = "case"
	PhaseReset    Phase = "reset"
	PhaseTearDown Phase = "tear-down"
	PhaseRestore  Phase = "restore" // replay of the undo journal
	PhaseStep     Phase = "step"
)

// An Entry is one line of the journal; docs/run-directory.md says which fields come with which event.
type Entry struct {
	Seq   int       `json:"seq"` // from 1, without gaps
	Time  time.Time `json:"time"`
	Event Event     `json:"event"`
	Phase Phase     `json:"phase"`
	ID    ID        `json:"id,omitzero"`    // Case is "" in a fixture's phases
	Name  string    `json:"name,omitempty"` // of a step
	Dir   string    `json:"dir,omitempty"`  // the phase's folder, relative to the run directory

	Timeout   time.Duration `json:"timeout_ns,omitempty"`  // on begin: the deadline, scaled
	Duration  time.Duration `json:"duration_ns,omitempty"` // on end
	Result    Result        `json:"result,omitempty"`      // on end of a case, and of a phase that went wrong
	Reason    string        `json:"reason,omitempty"`      // why the result is not pass
	Blame     Blame         `json:"blame,omitempty"`       // whose fault Reason is
	Where     string        `json:"where,omitempty"`       // file:line of flow code
	Stack     string        `json:"stack,omitempty"`       // of a panic
	Abandoned bool          `json:"abandoned,omitempty"`   // flow code did not come back; its goroutine was given up
	ExitCode  *int          `json:"exit_code,omitempty"`   // on end of the run

	Level   string `json:"level,omitempty"` // of a log line: slog's words
	Message string `json:"message,omitempty"`
}
