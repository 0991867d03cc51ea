package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	firstWord   = "__vm-guard"    // first argument that makes a program the guard
	environment = "VMTB_VM_GUARD" // set in the guard: a main without Run must not start itself for ever
	lifeFD      = 3               // read end: EOF means that vmtb is gone; a byte before EOF, that the directories stay
	reportFD    = 4               // write end: one report at the start, one at the end
)

// A report is a JSON text that the guard writes for vmtb.
type report struct {
	Error string `json:",omitempty"` // the program could not be started
	PID   int    `json:",omitempty"` // the program runs
	Ended bool   `json:",omitempty"`
	Exit  Exit
}

// Exit is how a process ended.
type Exit struct {
	Code   int
	Signal int  // the signal that ended it, or 0
	Lost   bool // the process is gone, and so is the guard that knew how it ended
}

// String returns the exit as words of a message: "exit code 1".
func (e Exit) String() string {
	switch {
	case e.Lost:
		return "killed with its guard"
	case e.Signal != 0:
		return "killed by " + unix.SignalName(syscall.Signal(e.Signal))
	default:
		return fmt.Sprintf("exit code %d", e.Code)
	}
}

// Run is the first call in main of every program that starts machines. In a process that [Start]
// has started as a guard, Run runs the guard to its end and returns true and the exit code. In any
// other process it does nothing.
func Run(args []string) (code int, ran bool) {
	if len(args) < 2 || args[1] != firstWord {
		return 0, false
	}
	dirs, argv, ok := splitArguments(args[2:])
	if !ok {
		return 2, true
	}
	return run(dirs, argv), true
}

// arguments returns the command line of a guard that runs argv, and removes dirs at its end.
func arguments(program, dirs, argv []string) []string {
	return slices.Concat(program, []string{firstWord}, dirs, []string{"--"}, argv)
}

func splitArguments(args []string) (dirs, argv []string, ok bool) {
	i := slices.Index(args, "--")
	if i < 0 || i == len(args)-1 {
		return nil, nil, false
	}
	return args[:i], args[i+1:], true
}

func run(dirs, argv []string) int {
	// Linux sends QEMU's parent-death signal when this thread ends. A locked thread lives as long
	// as its goroutine: to the end.
	runtime.LockOSThread()
	// QEMU inherits neither the pipes nor a descriptor that vmtb's parents left open.
	if err := unix.CloseRange(lifeFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return 2
	}
	life, reports := os.NewFile(lifeFD, "life"), json.NewEncoder(os.NewFile(reportFD, "report"))
	_ = os.Unsetenv(environment)

	vmtbGone := make(chan bool, 1) // and whether the directories stay
	defer func() {
		if <-vmtbGone {
			return
		}
		for _, d := range dirs {
			_ = os.RemoveAll(d) // nobody is left who could read the error
		}
	}()
	cmd := exec.CommandContext(context.Background(), argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		go drain(life, func(kept bool) { vmtbGone <- kept })
		_ = reports.Encode(report{Error: err.Error()}) // a report fails when vmtb is gone
		return 1
	}
	group := processGroup{pid: cmd.Process.Pid}
	go drain(life, func(kept bool) { group.kill(); vmtbGone <- kept })

	_ = reports.Encode(report{PID: group.pid})
	group.await()
	_ = cmd.Wait() // its error is the exit status, which the last report has
	_ = reports.Encode(report{Ended: true, Exit: exitOf(cmd.ProcessState)})
	return 0
}

// drain reads r to its end, then calls done with whether there was anything to read.
func drain(r io.Reader, done func(kept bool)) {
	n, _ := io.Copy(io.Discard, r)
	done(n > 0)
}

// A processGroup is QEMU and the processes that QEMU started. Its id is QEMU's pid, so the guard
// may signal it only until QEMU has been reaped.
type processGroup struct {
	pid   int
	mu    sync.Mutex
	ended bool
}

func (g *processGroup) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		_ = unix.Kill(-g.pid, unix.SIGKILL) // no such group: nothing to kill
	}
}

// await returns when QEMU has ended, not yet reaped, and the rest of its group has been killed.
func (g *processGroup) await() {
	for {
		if err := unix.Waitid(unix.P_PID, g.pid, nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	g.kill()
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
}

func exitOf(s *os.ProcessState) Exit {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return Exit{Signal: int(w.Signal())}
	}
	return Exit{Code: s.ExitCode()}
}
