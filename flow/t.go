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

// T is the interface between a running case and the engine. Several goroutines may call its
// methods. Only the case's own goroutine may call those that end the case: Fatal, Fatalf, Skipf,
// Reboot. The first failure decides the result. It is error instead of fail if the arguments hold a
// [bench.InfraError] or a [bench.UsageError].
type T struct {
	id     ID
	env    *Env
	dir    string
	begin  Entry
	reboot func(ctx context.Context) error // nil: the run cannot reboot the host

	mu       sync.Mutex
	failures []failure
	skip     string
	skipped  bool
	exited   bool // Fatal, Fatalf, Skipf or Reboot was called
	over     bool // the case has its result
}

type failure struct {
	reason, where string
	blame         Blame
}

// ID returns the id of the case.
func (t *T) ID() ID { return t.id }

// Env returns the environment of the fixture.
func (t *T) Env() *Env { return t.env }

// Dir returns an existing folder for the files of this case.
func (t *T) Dir() string { return t.dir }

// Failed reports whether the case has failed so far.
func (t *T) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.failures) > 0
}

// Errorf fails the case and continues it.
func (t *T) Errorf(format string, args ...any) { t.fail(fmt.Sprintf(format, args...), args) }

// Error fails the case and continues it.
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

// Skipf ends the case. The result is skip with this reason, unless the case has failed before.
func (t *T) Skipf(format string, args ...any) {
	t.mu.Lock()
	t.skip, t.skipped = fmt.Sprintf(format, args...), true
	t.mu.Unlock()
	t.exit()
}

// Logf adds a line to the journal.
func (t *T) Logf(format string, args ...any) { t.log("INFO", fmt.Sprintf(format, args...)) }

// Mark returns the mark that the case passed to [T.Reboot] before the host was rebooted; "" on the
// first entry.
func (t *T) Mark() string { return t.begin.Mark }

// Reboot reboots the host and does not return. "vmtb resume" enters the case again after the
// reboot, with a new fixture and the same Dir. [T.Mark] returns mark then. If the host does not go
// down, the case misses its deadline.
func (t *T) Reboot(ctx context.Context, mark string) {
	if mark == "" || t.reboot == nil {
		t.Fatal(errors.New("BUG: Reboot without a mark, or in a run that cannot reboot the host"))
	}
	t.env.journal.append(Entry{Event: Mark, Phase: PhaseCase, ID: t.id, Attempt: t.begin.Attempt, Mark: mark})
	if ctx.Err() == nil { // appending the mark may have failed, which stops the run
		if err := t.reboot(ctx); err != nil {
			t.Fatal(&bench.HostError{Op: "reboot", Noun: "the host", Err: err})
		}
	}
	<-ctx.Done()
	t.exit()
}

// Step runs f and journals its name, begin and end. It returns the error of f, and does not fail
// the case.
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
		t.log("ERROR", "after the end of the case: "+reason)
	}
}

func (t *T) exit() {
	t.mu.Lock()
	t.exited = true
	t.mu.Unlock()
	runtime.Goexit()
}

// end closes t and sets the result of the case in e.
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

// judged sets the result r, the reason, blame and place in e, for a case that did not pass.
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

// flowCode returns the file and line of the nearest caller outside the methods of T.
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

// short returns "package/file.go:12".
func short(file string, line int) string {
	return fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(file)), filepath.Base(file), line)
}
