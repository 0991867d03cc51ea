package machines

import (
	"errors"
	"fmt"

	"vmtb/bench"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
)

// NotStarted prints why a program could not be started, and returns the exit code that a shell
// gives. It returns other errors unchanged.
func NotStarted(e *env.Env, machine string, err error) error {
	start, ok := errors.AsType[*bench.StartError](err)
	if !ok {
		return err
	}
	fmt.Fprintf(e.Err, "vmtb: %s: %s\n", machine, ansi.Printable(start.Error()))
	return env.ExitCode(start.Code)
}

// EndedAs returns the result of a guest's command as our exit code, like a shell.
func EndedAs(r bench.Result) error {
	switch {
	case r.Signal != 0:
		return env.ExitCode(128 + r.Signal)
	case r.ExitCode != 0:
		return env.ExitCode(r.ExitCode)
	}
	return nil
}

// KeepCommand returns the command line of the process that keeps the machine in dir: see
// [keep.Store.Start].
func KeepCommand(dir string) []string { return []string{"vmtb", "vm", "keep", dir} }
