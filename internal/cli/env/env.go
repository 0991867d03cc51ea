package env

import (
	"fmt"
	"io"
	"os"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/flow"
	"vmtb/internal/hoststate"
)

// An Env is the environment of a command.
type Env struct {
	In       *os.File // a terminal, if the user types
	Out, Err io.Writer
	Registry *flow.Registry
	System   host.System // this machine
	State    hoststate.State
	Version  string // of vmtb
}

// An ExitCode ends the program with a code and without a message: the command has printed why.
type ExitCode int

func (c ExitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// OpenUndo opens a journal of host changes for the engine: see [flow.Options.OpenUndo].
func (e *Env) OpenUndo(path string) (flow.Undo, error) {
	j, err := e.State.OpenJournal(e.System, path)
	if err != nil {
		return nil, err // not j: an interface that holds a nil pointer is not nil
	}
	return j, nil
}

// CheckRoot returns an error unless euid is root's.
func CheckRoot(command string, euid int) error {
	if euid == 0 {
		return nil
	}
	return &bench.UsageError{
		Err:    fmt.Errorf("%s changes PCI devices and loads drivers, which only root may", command),
		Advice: "run as root",
	}
}
