package main

import (
	"fmt"
	"io"
	"path/filepath"
)

// A system is what a program sees of the machine it runs on.
type system struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	debugfs        string
	sentinels      bool // igt_runner wants the lines that begin and end a subtest on stderr, too
	drive          driver
}

// Exit codes of IGT's tests (lib/igt_core.h) and of gem_wsim.
const (
	exitSuccess = 0
	exitError   = 1
	exitSkip    = 77
	exitInvalid = 79
	exitFailure = 98
)

// notice is what every program says of itself.
const notice = "vmtb lab stand-in: no GPU executes anything"

// wsimPath is gem_wsim's place below IGT's test directory.
const wsimPath = "benchmarks/gem_wsim"

// run runs the program that args[0] names and returns its exit code. Under its own name it says which it is.
func (s system) run(args []string) int {
	name := filepath.Base(args[0])
	if name == filepath.Base(wsimPath) {
		return s.wsim(args[1:])
	}
	if name == editorName {
		return s.edit()
	}
	if t, ok := findProgram(name); ok {
		return s.igt(args[0], t, args[1:])
	}
	if len(args) == 2 && args[1] == "--names" {
		for _, p := range programs {
			fmt.Fprintln(s.stdout, p.name)
		}
		fmt.Fprintln(s.stdout, wsimPath)
		return exitSuccess
	}
	fmt.Fprintf(s.stderr, "%s: %s; call it by one of the names that %s --names lists\n", name, notice, name)
	return exitInvalid
}
