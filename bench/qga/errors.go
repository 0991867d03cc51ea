package qga

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// CommandDisabled is the error for a command that the agent does not offer. Its configuration
// forbids the command (packages of the RHEL family forbid guest-exec and guest-file-*), a file
// system is frozen, or the agent is too old. It matches [bench.ErrNotAvailable].
type CommandDisabled struct {
	Cmd  string
	Desc string // the agent's description
}

func (e *CommandDisabled) Error() string { return e.Cmd + ": " + e.Desc }
func (e *CommandDisabled) Unwrap() error { return bench.ErrNotAvailable }

// asDisabled converts the refusal of a disabled command to a [*CommandDisabled]. Agents up to 1.6
// used the class CommandDisabled.
func asDisabled(err error) error {
	var refusal *qmp.Error
	if errors.As(err, &refusal) && (refusal.Class == "CommandNotFound" || refusal.Class == "CommandDisabled") {
		return &CommandDisabled{Cmd: refusal.Cmd, Desc: refusal.Desc}
	}
	return err
}

func isTimeout(err error) bool {
	var t *qmp.TimeoutError
	return errors.As(err, &t)
}

// A guestErrno is an errno in the guest. The agent reports only its text.
type guestErrno struct {
	syscall.Errno
	reply *qmp.Error
}

func (e *guestErrno) Unwrap() []error { return []error{e.Errno, e.reply} }

// pathError gives a refused file operation its errno, so that it matches [fs.ErrNotExist], for
// example. The agent's message ends with the text of strerror: "failed to open file '/x' (mode:
// 'r'): No such file or directory".
func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var reply *qmp.Error
	if errors.As(err, &reply) {
		words := strings.ToLower(reply.Desc[strings.LastIndex(reply.Desc, ": ")+1:])
		if errno := errnos[strings.TrimSpace(words)]; errno != 0 {
			err = &guestErrno{errno, reply}
		}
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// errnos finds an errno by its text. Go's texts are those of glibc in lower case.
var errnos = func() map[string]syscall.Errno {
	m := map[string]syscall.Errno{}
	for e := syscall.Errno(133); e > 0; e-- { // EHWPOISON is the last
		m[strings.ToLower(e.Error())] = e
	}
	return m
}()
