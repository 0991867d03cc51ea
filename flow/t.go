package flow

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// T is how a case reports. Its methods may be called from several goroutines, those that end the case (Fatal, Fatalf,
// Skipf) only from the case's own. A failure whose arguments hold a [bench.InfraError] or a [bench.UsageError] makes the
// result error instead of fail; the first failure decides.
type T struct {
	id  ID
	env *Env
	dir string

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

// Step runs f and journals its name, begin and end. It does not fail the case: the error is returned.
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

// end closes t and returns the end entry for a case that ended in this way.
func (t *T) end(how ending) Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if p := (*panicError)(nil); errors.As(how.err, &p) {
		t.failures = append(t.failures, failure{reason: p.Error(), where: p.where})
		return t.entry(how, Fail, p.stack)
	}
	if errors.Is(how.err, errExited) && !t.exited {
		t.failures = append(t.failures, failure{reason: errExited.Error()})
	}
	switch {
	case how.interrupted:
		return t.entry(how, Incomplete, "")
	case how.expired:
		return t.entry(how, Timeout, "")
	case len(t.failures) > 0:
		return t.entry(how, t.failures[0].blame.result(), "")
	case t.skipped:
		return Entry{Result: Skip, Reason: t.skip}
	}
	return Entry{Result: Pass}
}

func (t *T) entry(how ending, r Result, stack string) Entry {
	e := Entry{Result: r, Stack: stack, Abandoned: how.abandoned}
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
	return e
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
