package qga

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// CommandDisabled is the error for a command that the agent does not offer: its configuration
// forbids it (as the packages of the RHEL family do with guest-exec and guest-file-*), a frozen
// file system does, or the agent is too old. It matches [bench.ErrNotAvailable].
type CommandDisabled struct {
	Cmd  string
	Desc string // the agent's words
}

func (e *CommandDisabled) Error() string { return e.Cmd + ": " + e.Desc }
func (e *CommandDisabled) Unwrap() error { return bench.ErrNotAvailable }

// asDisabled gives the refusal of a command as such the type that it has here. Agents up to 1.6 had
// the class CommandDisabled.
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

// A guestErrno is an errno in the guest, of which the agent reports the words.
type guestErrno struct {
	syscall.Errno
	reply *qmp.Error
}

func (e *guestErrno) Unwrap() []error { return []error{e.Errno, e.reply} }

// pathError gives a refused file operation its errno, so that it matches [fs.ErrNotExist] and its
// like. The agent's words end with those of strerror: "failed to open file '/x' (mode: 'r'): No
// such file or directory".
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

// errnos finds an errno by its words. Go's are those of glibc, in small letters.
var errnos = func() map[string]syscall.Errno {
	m := map[string]syscall.Errno{}
	for e := syscall.Errno(133); e > 0; e-- { // EHWPOISON is the last
		m[strings.ToLower(e.Error())] = e
	}
	return m
}()
