package klog

import (
	"regexp"
	"strings"
	"sync"
)

// A Part is the role of a line in a kernel log.
type Part int

// These are the roles.
const (
	Single Part = iota // the line is in no report: its verdict stands for itself
	Head               // the line begins a finding, and later lines may belong to its report
	Body               // the line belongs to the report of the last Head
)

// limits of a [Splitter].
const (
	longestReport = 400 // lines of a report whose end does not come
	mostBefore    = 20  // lines between "cut here" and the head of a report
	longestLine   = 512 // bytes of a line that decide its role
)

// A Splitter finds reports of several lines in one kernel log: an oops, a warning, a report of
// lockdep or of a sanitizer. Rules judge each line, but a report is one finding. The zero value is
// the beginning of a log.
//
// The forms are those of Linux 6.12 to 7.3: kernel/panic.c, lib/bug.c, lib/ubsan.c,
// kernel/locking/lockdep.c, kernel/sched/core.c, kernel/hung_task.c, kernel/kcsan/report.c and
// mm/kasan/report.c. A line of another kernel thread between those of a report counts as a part of
// it, unless rules match it.
type Splitter struct {
	form   form
	action Action // of the head
	lines  int    // of the report so far
	warned bool   // the report has its line "WARNING: ... at ..."
	oops   bool   // the report has its line "Oops: ..."
	bug    bool   // the head begins with "BUG: "
	traced bool   // the report has a line "Call Trace:"

	cut    bool // "cut here" came, and no head yet
	before []string
	hung   bool // the last report was about a task that hangs
}

// A form is how a report ends.
type form int

const (
	noReport form = iota
	marked        // by a line "---[ end trace 0000000000000000 ]---"
	ruled         // by a line of "="; UBSAN's by an end marker
	stacked       // with the stack that dump_stack prints
	listed        // with a list of locks
)

// patterns are the regular expressions of a [Splitter].
type patterns struct {
	lockReport   *regexp.Regexp // lockdep's reports, except for those that WARN prints
	lockList     *regexp.Regexp
	sanitizer    *regexp.Regexp
	warnLine     *regexp.Regexp
	oopsLine     *regexp.Regexp
	faultLine    *regexp.Regexp
	warnReason   *regexp.Regexp
	stackLine    *regexp.Regexp
	hungTask     *regexp.Regexp
	hungOwner    *regexp.Regexp
	listLine     *regexp.Regexp // the lines of a list of locks, and those that lockdep prints before it
	registerLine *regexp.Regexp // the lines of a stack, among which registers stand
	ruler        *regexp.Regexp
}

// is returns the patterns. It makes them when they are first used: most commands read no log.
var is = sync.OnceValue(func() *patterns {
	return &patterns{
		lockReport: regexp.MustCompile(`^(WARNING: (possible|suspicious|inconsistent|bad (unlock|contention)|` +
			`held lock|Nested lock|chain_key|[A-Z-]+-safe -> |.* still has locks held)|\[ BUG: Invalid wait context|` +
			`INFO: trying to register non-static key)`),
		lockList:  regexp.MustCompile(`^WARNING: lock held when returning to user space`),
		sanitizer: regexp.MustCompile(`^(BUG: (KASAN|KCSAN|KFENCE|KMSAN): |KCSAN: |UBSAN: )`),
		warnLine:  regexp.MustCompile(`^WARNING: (CPU: |at |.* at )`),
		oopsLine: regexp.MustCompile(`^(Oops|general protection fault|invalid opcode|Internal error: |KASAN: )|` +
			`\[#[0-9]+\]`),
		faultLine: regexp.MustCompile(`^(kernel BUG at |Unable to handle kernel|double fault|PANIC: |Kernel panic|` +
			`BUG: (kernel NULL pointer|unable to handle|stack guard page|TASK stack guard page|IRQ stack guard page))`),
		warnReason: regexp.MustCompile(`^(DEBUG_LOCKS_WARN_ON|list_(add|del)|refcount_t: |usercopy: |ODEBUG: |` +
			`slab error)`),
		stackLine: regexp.MustCompile(`^BUG[: ]|blocked (in I/O wait )?for more than |soft lockup|hard LOCKUP|` +
			`rcu.*(detected (expedited )?stalls|self-detected stall)`),
		hungTask:  regexp.MustCompile(`blocked (in I/O wait )?for more than `),
		hungOwner: regexp.MustCompile(`^INFO: task .* blocked on an? (mutex|semaphore|rw-semaphore)\b`),
		listLine: regexp.MustCompile(`^$|^\s|^[=-]{5,}$|^([0-9]+|no) locks? held by |^[0-9]+\.[0-9]\S* #|` +
			`leaving the kernel with locks still held|^INFO: lockdep is turned off`),
		registerLine: regexp.MustCompile(`^(R[A-Z0-9]{1,2}|EFLAGS|ORIG_RAX|Code|CR[0-9]|FS|CS|PKRU): ?|^$|^\s`),
		ruler:        regexp.MustCompile(`^={40,}$`),
	}
})

const (
	cutHere   = "------------[ cut here ]------------"
	endMarker = "---[ end " // of a trace, or of a panic
)

// formOf returns the form of the report that text begins or goes on with.
func formOf(text string) form {
	switch {
	case is().lockList.MatchString(text):
		return listed
	case is().lockReport.MatchString(text):
		return stacked
	case is().sanitizer.MatchString(text):
		return ruled
	case is().warnLine.MatchString(text), is().oopsLine.MatchString(text), is().faultLine.MatchString(text),
		is().warnReason.MatchString(text):
		return marked
	case is().stackLine.MatchString(text):
		return stacked
	}
	return noReport
}

// Next returns the role of the next line of the log. action is the verdict of the rules for it.
func (s *Splitter) Next(text string, action Action) Part {
	text = strings.TrimRight(text[:min(len(text), longestLine)], " \r\n")
	if text == cutHere {
		if s.form == marked && !s.warned && !s.oops && s.lines < mostBefore { // it came before the reason of a BUG
			s.lines++
			return Body
		}
		s.end()
		s.cut, s.before = true, nil
		return Single
	}
	if s.form != noReport {
		if part, inside := s.inside(text, action); inside {
			return part
		}
	}
	hung := s.hung
	s.hung = false
	if hung && action == Ignore && is().hungOwner.MatchString(text) { // the stack of the lock's owner follows
		if !strings.Contains(text, "not found") {
			s.form, s.lines, s.traced = stacked, 1, false
		}
		return Body
	}
	if f := formOfCounting(text, action); f != noReport {
		s.begin(f, text, action)
		return Head
	}
	if s.cut {
		s.before = append(s.before, text)
		if strings.HasPrefix(text, endMarker) || len(s.before) > mostBefore {
			s.cut, s.before = false, nil
		}
	}
	return Single
}

// formOfCounting is formOf for lines that the rules do not ignore. Other lines begin nothing.
func formOfCounting(text string, action Action) form {
	if action == Ignore {
		return noReport
	}
	return formOf(text)
}

// Before returns the lines between "cut here" and the line for which Next has just returned Head.
func (s *Splitter) Before() []string { return s.before }

func (s *Splitter) begin(f form, text string, action Action) {
	if !s.cut {
		s.before = nil
	}
	*s = Splitter{
		form: f, action: action, lines: 1,
		warned: is().warnLine.MatchString(text), oops: is().oopsLine.MatchString(text),
		bug: strings.HasPrefix(text, "BUG: "), before: s.before, hung: is().hungTask.MatchString(text),
	}
}

func (s *Splitter) end() { *s = Splitter{hung: s.hung} }

// inside returns the role of a line while a report is open. If the line is not a part of the
// report, inside ends the report.
func (s *Splitter) inside(text string, action Action) (part Part, inside bool) {
	if s.lines++; s.lines > longestReport {
		s.end()
		return Single, false
	}
	if action != Ignore {
		switch f := formOf(text); {
		case f == noReport:
			return Single, true // a message of its own, in the middle of the report
		case !s.goesOn(f, text) || s.action == Warn && action == Fail:
			s.end()
			return Single, false
		}
	}
	switch s.form {
	case marked:
		if strings.HasPrefix(text, endMarker) {
			s.end()
		}
	case ruled:
		if is().ruler.MatchString(text) || strings.HasPrefix(text, endMarker) {
			s.end()
		}
	case stacked:
		return Body, s.inStack(text)
	case listed:
		if !is().listLine.MatchString(text) {
			s.end()
			return Single, false
		}
	}
	return Body, true
}

// inStack reports whether a line belongs to a report that ends with a stack. The stack of x86 ends
// with "</TASK>" or "</IRQ>", others with their last indented line.
func (s *Splitter) inStack(text string) bool {
	switch {
	case strings.HasPrefix(text, "Call Trace:"), strings.HasPrefix(text, "Call trace:"): // x86, arm64
		s.traced = true
	case !s.traced:
	case strings.TrimSpace(text) == "</TASK>":
		s.end()
	case !is().registerLine.MatchString(text):
		s.end()
		return false
	}
	return true
}

// goesOn reports whether a line that the rules match is a part of the open report, and not the head
// of another one.
func (s *Splitter) goesOn(f form, text string) bool {
	if s.form == marked {
		switch {
		case is().warnReason.MatchString(text), strings.HasPrefix(text, "KASAN: "): // the address of a fault
			return true
		case is().warnLine.MatchString(text):
			first := !s.warned && !s.oops
			s.warned = true
			return first
		case !s.warned && strings.HasPrefix(text, "kernel BUG at "):
			return !s.oops
		}
	}
	// "BUG: ..." may turn out to be a fault.
	mayOops := s.form == marked && !s.warned || s.form == stacked && s.bug
	if f != marked || !mayOops || s.traced || s.oops || !is().oopsLine.MatchString(text) {
		return false
	}
	s.form, s.oops = marked, true
	return true
}
