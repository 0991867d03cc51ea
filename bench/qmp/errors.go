package qmp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vmtb/internal/prose"
)

// ErrClosed is matched by the errors of calls on a connection that has ended. They also wrap the
// cause (io.EOF if the other side closed the connection).
var ErrClosed = errors.New("connection closed")

// An Error is QEMU's refusal of a command. Match on Class only: QEMU may change the text of Desc.
type Error struct {
	Class string `json:"class"` // "GenericError", "CommandNotFound", "DeviceNotFound", ...
	Desc  string `json:"desc"`
	Cmd   string `json:"-"`
}

func (e *Error) Error() string { return e.Cmd + ": " + e.Desc }

// A TimeoutError is the error if no reply came in time. The command may have taken effect, or may
// still do so. It matches [context.DeadlineExceeded].
type TimeoutError struct {
	Cmd    string
	Waited time.Duration
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("%s: no answer in %s", e.Cmd, prose.Duration(e.Waited))
}

// Is makes a TimeoutError match [context.DeadlineExceeded].
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Timeout is true, as in [net.Error].
func (e *TimeoutError) Timeout() bool { return true }

// A JobError is the error of a background job.
type JobError struct {
	Job  string // its id
	Cmd  string // the command that started it
	Desc string
}

func (e *JobError) Error() string { return e.Cmd + ": " + e.Desc }
