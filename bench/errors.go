package bench

import (
	"errors"
	"strings"
)

// A GuestError is the fault of the software under test inside a machine: a guest that panicked, a driver that did
// not load, a command that failed there.
type GuestError struct {
	Machine string // "vm0"
	Op      string // what was being done, in the infinitive: "load xe"
	Err     error
}

func (e *GuestError) Error() string { return join(e.Machine, e.Op, e.Err, "") }
func (e *GuestError) Unwrap() error { return e.Err }

// A HostError is a refusal by the host's kernel or programs: a sysfs write that failed, a module that did not load.
type HostError struct {
	Op     string // "write", "load module"
	Noun   string // the path, BDF or program that it was done to
	Value  string // what was written, if anything
	Err    error  // the errno, if there is one
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

// An InfraError is the test bench's own trouble, which says nothing about the software under test: QEMU missing, a
// lab that did not boot, a full disk.
type InfraError struct {
	Op       string
	Err      error
	Advice   string
	Evidence string // the tail of a console or of stderr, kept apart so that a report can show it whole
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

// A StartError is the error for a command whose program could not be run. It is not for a program that ran and failed.
type StartError struct {
	Program string
	Code    int    // exit code of a shell for it: 127 when there is no such program, 126 when it cannot be executed
	Reason  string // "not found", ...
}

func (e *StartError) Error() string { return join(e.Program, "", errors.New(e.Reason), "") }

// Exit codes of a [StartError].
const (
	CodeNotExecutable = 126
	CodeNotFound      = 127
)

// ErrNotAvailable marks what this kernel, device or program does not have, as opposed to what it has and failed at.
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
