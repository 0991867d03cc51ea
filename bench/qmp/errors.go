package qmp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vmtb/internal/prose"
)

// ErrClosed is matched by the errors of everything that needs a connection which has ended; they
// wrap the cause too (io.EOF when the other side left).
var ErrClosed = errors.New("connection closed")

// An Error is a refusal in reply to a command. Match on Class only: QEMU promises nothing about the
// words of Desc.
type Error struct {
	Class string `json:"class"` // "GenericError", "CommandNotFound", "DeviceNotFound", ...
	Desc  string `json:"desc"`
	Cmd   string `json:"-"`
}

func (e *Error) Error() string { return e.Cmd + ": " + e.Desc }

// A TimeoutError says that no reply came in time. Whether the command took effect, and will yet, is
// unknown. It matches [context.DeadlineExceeded].
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

// A JobError says why a background job failed.
type JobError struct {
	Job  string // its id
	Cmd  string // the command that started it
	Desc string
}

func (e *JobError) Error() string { return e.Cmd + ": " + e.Desc }
