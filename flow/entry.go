package flow

import "time"

// A Result is how a case ended.
type Result string

// The results, most of them IGT's words.
const (
	Pass       Result = "pass"
	DmesgWarn  Result = "dmesg-warn" // it would be a pass, but a kernel logged what it should not
	DmesgFail  Result = "dmesg-fail" // it would be a pass or a skip, but a kernel logged what is a failure
	Fail       Result = "fail"       // the software under test did not do what it should
	Skip       Result = "skip"       // a precondition is missing here; there is a reason
	Error      Result = "error"      // the fixture or the bench failed: nothing is known about the case
	Timeout    Result = "timeout"    // the case missed its deadline
	Incomplete Result = "incomplete" // cut off in flight: interrupted, or the host died
	NotRun     Result = "notrun"     // never begun
)

// Results is every result, in the order in which a summary names them.
var Results = []Result{Fail, DmesgFail, Timeout, Error, Incomplete, Pass, DmesgWarn, Skip, NotRun}

// failed results are worth another attempt; none of them is good.
func (r Result) failed() bool {
	return r == Fail || r == DmesgFail || r == Timeout || r == Error
}

// good results do not make a run fail.
func (r Result) good() bool { return r == Pass || r == DmesgWarn || r == Skip }

// An Event says what an entry of the journal is.
type Event string

// A phase begins and ends; log lines and a case's marks come in between.
const (
	Begin Event = "begin"
	End   Event = "end"
	Log   Event = "log"
	Mark  Event = "mark" // the case wants the host to reboot, and to be entered again after it
)

// A Phase is what begins and ends. Phases nest: the run, then a fixture's phases and cases, then
// steps.
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

// An Entry is one line of the journal; docs/run-directory.md says which fields come with which
// event.
type Entry struct {
	Seq   int       `json:"seq"` // from 1, without gaps
	Time  time.Time `json:"time"`
	Event Event     `json:"event"`
	Phase Phase     `json:"phase"`
	ID    ID        `json:"id,omitzero"`    // Case is "" in a fixture's phases
	Name  string    `json:"name,omitempty"` // of a step
	Dir   string    `json:"dir,omitempty"`  // the phase's folder, relative to the run directory

	DUT     string `json:"dut,omitempty"`     // in a merged run of several DUTs: which one
	Attempt int    `json:"attempt,omitempty"` // of a case, from the second on
	Mark    string `json:"mark,omitempty"`    // on mark, and on begin of a case that is entered again there
	BootID  string `json:"boot_id,omitempty"` // on begin of the run, and when it is resumed

	Timeout   time.Duration `json:"timeout_ns,omitempty"`  // on begin: the deadline, scaled
	Duration  time.Duration `json:"duration_ns,omitempty"` // on end
	Result    Result        `json:"result,omitempty"`      // on end of a case, and of a phase that went wrong
	Reason    string        `json:"reason,omitempty"`      // why the result is not pass
	Blame     Blame         `json:"blame,omitempty"`       // whose fault Reason is
	Where     string        `json:"where,omitempty"`       // file:line of flow code
	Stack     string        `json:"stack,omitempty"`       // of a panic
	Abandoned bool          `json:"abandoned,omitempty"`   // flow code did not come back; its goroutine was given up
	ExitCode  *int          `json:"exit_code,omitempty"`   // on end of the run

	After string `json:"after,omitempty"` // on end of a case that was skipped because of this one, which did not pass

	Quarantined bool `json:"quarantined,omitempty"` // the result of this case does not count for the exit code

	Level   string `json:"level,omitempty"` // of a log line: slog's words
	Message string `json:"message,omitempty"`
	Source  string `json:"source,omitempty"` // of a finding: "host", or a machine
	Rule    string `json:"rule,omitempty"`   // of a finding: what it matched

	// Offset and Size are the place of the line in the journal, for who reads it again (ReadPart)
	// instead of keeping it. Size is 0 if the entry does not come from a journal.
	Offset int64 `json:"-"`
	Size   int64 `json:"-"`
}
