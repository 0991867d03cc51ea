package flow

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"vmtb/bench"
)

// T is how a case reports. Its methods may be called from several goroutines, those that end the
// case (Fatal, Fatalf, Skipf) only from the case's own. A failure whose arguments hold a
// [bench.InfraError] or a [bench.UsageError] makes the result error instead of fail; the first
// failure decides.
type T struct {
	id     ID
	env    *Env
	dir    string
	begin  Entry
	reboot func(ctx context.Context) error // nil when this run cannot

	mu       sync.Mutex
	failures []failure
	skip     string
	skipped  bool
	exited   bool // by Fatal or Skipf
	over     bool // the case has its result
}

type failure struct {
	reason, where string
	blame         Blame
}

// ID is the case's id.
func (t *T) ID() ID { return t.id }

// Env is the fixture's environment.
func (t *T) Env() *Env { return t.env }

// Dir is an existing folder for the files of this case.
func (t *T) Dir() string { return t.dir }

// Failed reports whether the case has failed so far.
func (t *T) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.failures) > 0
}

// Errorf fails the case, which goes on.
func (t *T) Errorf(format string, args ...any) { t.fail(fmt.Sprintf(format, args...), args) }

// Error fails the case, which goes on.
func (t *T) Error(args ...any) { t.fail(sprint(args), args) }

// Fatalf fails the case and ends it.
func (t *T) Fatalf(format string, args ...any) {
	t.fail(fmt.Sprintf(format, args...), args)
	t.exit()
}

// Fatal fails the case and ends it.
func (t *T) Fatal(args ...any) {
	t.fail(sprint(args), args)
	t.exit()
}

// Skipf ends the case with the result skip and a reason, unless it has failed before.
func (t *T) Skipf(format string, args ...any) {
	t.mu.Lock()
	t.skip, t.skipped = fmt.Sprintf(format, args...), true
	t.mu.Unlock()
	t.exit()
}

// Logf adds a line to the journal.
func (t *T) Logf(format string, args ...any) { t.log("INFO", fmt.Sprintf(format, args...)) }

// Mark is where the case is to go on: what it gave to [T.Reboot], "" when it begins.
func (t *T) Mark() string { return t.begin.Mark }

// Reboot reboots the host, and does not return. When the run is resumed after it ("vmtb resume"),
// the case is entered again, with a fixture that was set up anew and the same Dir, and finds mark
// in [T.Mark]. A host that does not go down makes the case miss its deadline.
func (t *T) Reboot(ctx context.Context, mark string) {
	if mark == "" || t.reboot == nil {
		t.Fatal(errors.New("BUG: Reboot without a mark, or in a run that cannot reboot the host"))
	}
	t.env.journal.append(Entry{Event: Mark, Phase: PhaseCase, ID: t.id, Attempt: t.begin.Attempt, Mark: mark})
	if ctx.Err() == nil { // a journal that cannot be written ends it
		if err := t.reboot(ctx); err != nil {
			t.Fatal(&bench.HostError{Op: "reboot", Noun: "the host", Err: err})
		}
	}
	<-ctx.Done()
	t.exit()
}

// Step runs f and journals its name, begin and end. It does not fail the case: the error is
// returned.
func (t *T) Step(ctx context.Context, name string, f func(ctx context.Context) error) error {
	return step(ctx, t.env.journal, t.id, name, f)
}

func (t *T) log(level, msg string) {
	t.env.journal.append(Entry{Event: Log, Phase: PhaseCase, ID: t.id, Level: level, Message: msg})
}

func (t *T) fail(reason string, args []any) {
	f := failure{reason: reason, where: flowCode()}
	for _, a := range args {
		if err, ok := a.(error); ok && f.blame == "" {
			f.blame = BlameOf(err)
		}
	}
	t.mu.Lock()
	over := t.over
	if !over {
		t.failures = append(t.failures, f)
	}
	t.mu.Unlock()
	if over {
		t.log("ERROR", "after the case's end: "+reason)
	}
}

func (t *T) exit() {
	t.mu.Lock()
	t.exited = true
	t.mu.Unlock()
	runtime.Goexit()
}

// end closes t and fills in the end entry of a case that ended in this way.
func (t *T) end(how ending, e *Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	e.Duration = how.took
	if p := (*panicError)(nil); errors.As(how.err, &p) {
		t.failures = append(t.failures, failure{reason: p.Error(), where: p.where})
		t.judged(how, Fail, e)
		e.Stack = p.stack
		return
	}
	if errors.Is(how.err, errExited) && !t.exited {
		t.failures = append(t.failures, failure{reason: errExited.Error()})
	}
	switch {
	case how.interrupted:
		t.judged(how, Incomplete, e)
	case how.expired:
		t.judged(how, Timeout, e)
	case len(t.failures) > 0:
		t.judged(how, t.failures[0].blame.result(), e)
	case t.skipped:
		e.Result, e.Reason = Skip, t.skip
	default:
		e.Result = Pass
	}
}

// judged fills in the end of a case that is not a pass.
func (t *T) judged(how ending, r Result, e *Entry) {
	e.Result, e.Abandoned = r, how.abandoned
	var reasons []string
	if s := how.cutOff(); s != "" {
		reasons = append(reasons, s)
	}
	for _, f := range t.failures {
		reasons = append(reasons, f.reason)
	}
	if len(t.failures) > 0 {
		e.Blame, e.Where = t.failures[0].blame, t.failures[0].where
	}
	e.Reason = strings.Join(reasons, "\n")
}

func sprint(args []any) string { return strings.TrimSuffix(fmt.Sprintln(args...), "\n") }

// flowCode is the file and line of the nearest caller outside this package's t.go.
func flowCode() string {
	pc := make([]uintptr, 8)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "vmtb/flow.(*T).") {
			return short(f.File, f.Line)
		}
		if !more {
			return ""
		}
	}
}

// short is "package/file.go:12".
func short(file string, line int) string {
	return fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(file)), filepath.Base(file), line)
}
