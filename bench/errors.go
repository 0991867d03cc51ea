package bench

import (
	"errors"
	"strings"
)

// A GuestError is a failure of the software under test inside a machine: a guest that panicked, a
// driver that did not load, a command that failed there.
type GuestError struct {
	Machine string // "vm0"
	Op      string // the failed operation, in the infinitive: "load xe"
	Err     error
}

func (e *GuestError) Error() string { return join(e.Machine, e.Op, e.Err, "") }
func (e *GuestError) Unwrap() error { return e.Err }

// A HostError is a refusal by the host's kernel or programs: a sysfs write that failed, a module
// that did not load.
type HostError struct {
	Op     string // "write", "load module"
	Noun   string // the path, BDF or program that Op was applied to
	Value  string // the written value, if any
	Err    error  // the errno, if any
	Advice string // what the user can do about it; "" when nothing is known
}

func (e *HostError) Error() string {
	op := e.Op
	if e.Value != "" {
		op += " " + Quote(e.Value) + " to"
	}
	if e.Noun != "" {
		op += " " + e.Noun
	}
	return join("", op, e.Err, e.Advice)
}
func (e *HostError) Unwrap() error { return e.Err }

// An InfraError is a failure of the test bench itself: QEMU is missing, a lab did not boot, a disk
// is full. It says nothing about the software under test.
type InfraError struct {
	Op     string
	Err    error
	Advice string
	// Tail of a console or of stderr; apart from Err so that a report can show it whole.
	Evidence string
}

func (e *InfraError) Error() string {
	s := join("", e.Op, e.Err, e.Advice)
	if e.Evidence != "" {
		s += "\n" + e.Evidence
	}
	return s
}
func (e *InfraError) Unwrap() error { return e.Err }

// A UsageError is a mistake in what the user asked for: a flag, a selection, a configuration file.
type UsageError struct {
	Err    error
	Advice string
}

func (e *UsageError) Error() string { return join("", "", e.Err, e.Advice) }
func (e *UsageError) Unwrap() error { return e.Err }

// A StartError is the error for a command whose program could not be run. A program that ran and
// failed is not a StartError.
type StartError struct {
	Program string
	// A shell's exit code: 127 if there is no such program, 126 if it cannot be executed.
	Code   int
	Reason string // "not found", ...
}

func (e *StartError) Error() string { return join(e.Program, "", errors.New(e.Reason), "") }

// Exit codes of a [StartError].
const (
	CodeNotExecutable = 126
	CodeNotFound      = 127
)

// ErrNotAvailable marks a feature that this kernel, device or program does not have. A feature that
// exists and failed is another error.
var ErrNotAvailable = errors.New("not available here")

func join(noun, op string, err error, advice string) string {
	var parts []string
	for _, s := range []string{noun, op} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if err != nil {
		parts = append(parts, err.Error())
	}
	s := strings.Join(parts, ": ")
	if advice != "" {
		s += " (" + advice + ")"
	}
	return s
}
