package flow

import "time"

// A Result is the outcome of a case.
type Result string

// The results. Most of the words are those of IGT.
const (
	Pass       Result = "pass"
	DmesgWarn  Result = "dmesg-warn" // a pass, but a kernel logged a warning
	DmesgFail  Result = "dmesg-fail" // a pass or a skip, but a kernel logged a failure
	Fail       Result = "fail"       // the software under test did something wrong
	Skip       Result = "skip"       // a precondition is not met on this machine; Reason says which
	Error      Result = "error"      // the fixture or the bench failed: nothing is known about the software under test
	Timeout    Result = "timeout"    // the case missed its deadline
	Incomplete Result = "incomplete" // the case was cut off: by an interrupt, or because vmtb or the host died
	NotRun     Result = "notrun"     // the case never began
)

// Results lists every result, in the order of a summary.
var Results = []Result{Fail, DmesgFail, Timeout, Error, Incomplete, Pass, DmesgWarn, Skip, NotRun}

// failed reports whether the result is worth another attempt. No such result is good.
func (r Result) failed() bool {
	return r == Fail || r == DmesgFail || r == Timeout || r == Error
}

// good reports whether the result leaves the run a success.
func (r Result) good() bool { return r == Pass || r == DmesgWarn || r == Skip }

// An Event is the kind of a journal entry.
type Event string

// A phase begins and ends. Log lines and marks of cases come in between.
const (
	Begin Event = "begin"
	End   Event = "end"
	Log   Event = "log"
	Mark  Event = "mark" // the case asks for a reboot of the host, and is entered again after it
)

// A Phase is a part of a run that begins and ends. Phases nest: the run contains cases and the
// phases of fixtures, and these contain steps.
type Phase string

// The phases.
const (
	PhaseRun      Phase = "run"
	PhaseNeeds    Phase = "needs" // checks the preconditions
	PhaseSetUp    Phase = "set-up"
	PhaseCase     Phase = "case"
	PhaseReset    Phase = "reset"
	PhaseTearDown Phase = "tear-down"
	PhaseRestore  Phase = "restore" // replays the undo journal
	PhaseStep     Phase = "step"
)

// An Entry is one line of the journal. docs/run-directory.md lists the fields of each event.
type Entry struct {
	Seq   int       `json:"seq"` // from 1, without gaps
	Time  time.Time `json:"time"`
	Event Event     `json:"event"`
	Phase Phase     `json:"phase"`
	ID    ID        `json:"id,omitzero"`    // Case is "" in the phases of a fixture
	Name  string    `json:"name,omitempty"` // of a step
	Dir   string    `json:"dir,omitempty"`  // folder of the phase, relative to the run directory

	DUT     string `json:"dut,omitempty"`     // in a merged run of several DUTs: name of the DUT
	Attempt int    `json:"attempt,omitempty"` // number of a case's attempt, from the second on
	Mark    string `json:"mark,omitempty"`    // on mark, and on begin of a case that is entered again at this mark
	BootID  string `json:"boot_id,omitempty"` // on begin of the run, also of a resumed one

	Timeout   time.Duration `json:"timeout_ns,omitempty"`  // on begin: the deadline, scaled
	Duration  time.Duration `json:"duration_ns,omitempty"` // on end
	Result    Result        `json:"result,omitempty"`      // on end of a case, and on end of a phase that failed
	Reason    string        `json:"reason,omitempty"`      // why the result is not pass
	Blame     Blame         `json:"blame,omitempty"`       // owner of the failure
	Where     string        `json:"where,omitempty"`       // file:line in flow code
	Stack     string        `json:"stack,omitempty"`       // of a panic
	Abandoned bool          `json:"abandoned,omitempty"`   // the code did not return; its goroutine was abandoned
	ExitCode  *int          `json:"exit_code,omitempty"`   // on end of the run

	After string `json:"after,omitempty"` // on end of a skipped case: the case that did not pass before it

	Quarantined bool `json:"quarantined,omitempty"` // the result does not count for the exit code

	Level   string `json:"level,omitempty"` // of a log line: a level of slog
	Message string `json:"message,omitempty"`
	Source  string `json:"source,omitempty"`  // of a finding: "host", or the name of a machine
	Rule    string `json:"rule,omitempty"`    // of a finding: the rule that it matched
	Machine string `json:"machine,omitempty"` // on log: the machine of Facts, or "host"
	Facts   []Fact `json:"facts,omitempty"`   // on log: what the machine is

	// Offset and Size are the place of the line in the journal, in bytes. [ReadPart] reads the line
	// again with them. Size is 0 if the entry does not come from a journal.
	Offset int64 `json:"-"`
	Size   int64 `json:"-"`
}
