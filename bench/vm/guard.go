package vm

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
	guardWord = "__vm-guard"    // first argument that makes a program the guard
	guardEnv  = "VMTB_VM_GUARD" // set in the guard, so that a main without Guard does not start itself for ever
	lifeFD    = 3               // read end: EOF says that vmtb is gone; a byte before it, that the directories are not ours any more
	reportFD  = 4               // write end: one guardReport at the start, one at the end
)

// A guardReport is what the guard tells vmtb, one JSON text each.
type guardReport struct {
	Error string `json:",omitempty"` // QEMU could not be started
	PID   int    `json:",omitempty"` // it runs
	Ended bool   `json:",omitempty"`
	Exit  Exit
}

// Exit is how a QEMU process ended.
type Exit struct {
	Code   int
	Signal int  // the signal that ended it, or 0
	Lost   bool // it is gone, but so is the guard that knew how
}

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

// Guard is the first call in main of every program that starts machines. In the process that the package has started
// as a guard, it runs the guard to its end and returns ran and the exit code; anywhere else it does nothing.
// See the package comment for what the guard is for.
func Guard(args []string) (code int, ran bool) {
	if len(args) < 2 || args[1] != guardWord {
		return 0, false
	}
	dirs, argv, ok := splitGuardArgs(args[2:])
	if !ok {
		return 2, true
	}
	return runGuard(dirs, argv), true
}

// guardArgs is the command line of a guard that runs argv and removes dirs when all is over.
func guardArgs(program, dirs, argv []string) []string {
	return slices.Concat(program, []string{guardWord}, dirs, []string{"--"}, argv)
}

func splitGuardArgs(args []string) (dirs, argv []string, ok bool) {
	i := slices.Index(args, "--")
	if i < 0 || i == len(args)-1 {
		return nil, nil, false
	}
	return args[:i], args[i+1:], true
}

func runGuard(dirs, argv []string) int {
	// The parent-death signal of QEMU goes by this thread. A locked thread lives as long as its goroutine: to the end.
	runtime.LockOSThread()
	// QEMU gets neither pipe, nor what vmtb was left open by its own parents.
	if err := unix.CloseRange(lifeFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return 2
	}
	life, report := os.NewFile(lifeFD, "life"), json.NewEncoder(os.NewFile(reportFD, "report"))
	_ = os.Unsetenv(guardEnv)

	vmtbGone := make(chan bool, 1) // and whether the directories stay
	defer func() {
		if <-vmtbGone {
			return
		}
		for _, d := range dirs {
			_ = os.RemoveAll(d) // there is nobody left to tell
		}
	}()
	cmd := exec.CommandContext(context.Background(), argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		go drain(life, func(kept bool) { vmtbGone <- kept })
		_ = report.Encode(guardReport{Error: err.Error()}) // reports fail when vmtb is gone
		return 1
	}
	group := processGroup{pid: cmd.Process.Pid}
	go drain(life, func(kept bool) { group.kill(); vmtbGone <- kept })

	_ = report.Encode(guardReport{PID: group.pid})
	group.await()
	_ = cmd.Wait() // its error is the exit status, which is reported
	_ = report.Encode(guardReport{Ended: true, Exit: exitOf(cmd.ProcessState)})
	return 0
}

// drain reads r until it ends, then tells done whether there was anything.
func drain(r io.Reader, done func(kept bool)) {
	n, _ := io.Copy(io.Discard, r)
	done(n > 0)
}

// A processGroup is QEMU and what it started. Its id is QEMU's pid, and ours to signal only until QEMU is reaped.
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
