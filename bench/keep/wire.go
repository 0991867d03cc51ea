package keep

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"vmtb/bench"
)

// A message is one line of a keeper's answer. One of its fields is set.
type message struct {
	Progress string          `json:"progress,omitempty"` // the current step, for people
	Stdout   []byte          `json:"stdout,omitempty"`
	Stderr   []byte          `json:"stderr,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"` // the last message
	Error    *Error          `json:"error,omitempty"`  // the last message
}

// These say whose failure an [Error] is.
const (
	faultUsage = "usage"
	faultGuest = "guest"
	faultHost  = "host"
	faultInfra = "infra"

	faultNotRestored = "not-restored" // infra, and matches ErrNotRestored
)

// An Error is a keeper's error as sent over the socket: its whole text, and whose failure it is. It
// wraps an error of package bench of that kind.
type Error struct {
	Fault string `json:"fault"`
	Text  string `json:"text"`

	// Start is set if the error wraps a [bench.StartError].
	Start *bench.StartError `json:"start,omitempty"`
}

func (e *Error) Error() string { return e.Text }

func (e *Error) Unwrap() error {
	text := errors.New(e.Text)
	if e.Start != nil {
		text = e.Start
	}
	switch e.Fault {
	case faultUsage:
		return &bench.UsageError{Err: text}
	case faultGuest:
		return &bench.GuestError{Err: text}
	case faultHost:
		return &bench.HostError{Err: text}
	case faultNotRestored:
		return &bench.InfraError{Err: notRestored{e.Text}}
	default:
		return &bench.InfraError{Err: text}
	}
}

// notRestored is an error of another process that matches [ErrNotRestored] there.
type notRestored struct{ text string }

func (e notRestored) Error() string        { return e.text }
func (e notRestored) Is(target error) bool { return target == ErrNotRestored }

// wireError returns the form of err for the socket.
func wireError(err error) *Error {
	e := &Error{Fault: faultInfra, Text: err.Error()}
	e.Start, _ = errors.AsType[*bench.StartError](err)
	if errors.Is(err, ErrNotRestored) {
		e.Fault = faultNotRestored
	} else if _, ok := errors.AsType[*bench.UsageError](err); ok {
		e.Fault = faultUsage
	} else if _, ok := errors.AsType[*bench.GuestError](err); ok {
		e.Fault = faultGuest
	} else if _, ok := errors.AsType[*bench.HostError](err); ok {
		e.Fault = faultHost
	}
	return e
}

// Output has the caller's writers and functions for messages before the result. Those that are nil
// get nothing.
type Output struct {
	Stdout, Stderr io.Writer
	Progress       func(string)
}

func (o Output) take(m message) (err error) {
	if len(m.Stdout) > 0 && o.Stdout != nil {
		_, err = o.Stdout.Write(m.Stdout)
	}
	if len(m.Stderr) > 0 && o.Stderr != nil && err == nil {
		_, err = o.Stderr.Write(m.Stderr)
	}
	if m.Progress != "" && o.Progress != nil {
		o.Progress(m.Progress)
	}
	return err
}

// maxLine limits a line of an answer in bytes: QEMU's longest reply is 64 MiB.
const maxLine = 128 << 20

// errCutOff is the error if the keeper ended before it had answered.
var errCutOff = errors.New("the keeper closed the connection before it answered")

// receive reads messages until the last one. It unmarshals the result into result, unless that is
// nil.
func receive(r io.Reader, o Output, result any) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("a keeper's message %.100q: %w", lines.Text(), err)
		}
		if err := o.take(m); err != nil {
			return err
		}
		switch {
		case m.Error != nil:
			return m.Error
		case m.Result == nil:
		case result == nil:
			return nil
		default:
			return json.Unmarshal(m.Result, result)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errCutOff
}
