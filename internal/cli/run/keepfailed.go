package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/report"
)

// With --keep-on-failure the machines of the case that failed must outlive the command, and QEMU's monitor, its agent, the
// journal of host changes and the code that tears the fixture down are in the process of the run. So the command starts itself
// once more, as the run, and shows what that prints:
//
//	vmtb run --keep-on-failure ──spawns──> the run ──> guards ──> QEMU
//	         <──────exit code─────────────
//
// When a case has failed, the run writes its flows.Reports, shares its machines (see [keep.Sharing]) and tells the command its exit
// code. The command ends; the run lives on until its machines have ended, tears down, and puts the host back.

// The run finds these after standard error: where it tells its exit code, and a pipe that ends with the command.
const (
	tellFD  = 3
	leashFD = 4
)

// keptRunVariable tells a process that it is the run of another one, which is told of its exit code.
const keptRunVariable = "VMTB_KEPT_RUN"

// runKept starts the run as a process of its own, and returns with its exit code when it has ended, or keeps machines.
func runKept() error {
	told, tell, err := os.Pipe()
	if err != nil {
		return &bench.InfraError{Op: "start the run", Err: err}
	}
	defer told.Close()
	leash, hold, err := os.Pipe()
	if err != nil {
		tell.Close()
		return &bench.InfraError{Op: "start the run", Err: err}
	}
	defer hold.Close()
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, env.EndSignals()...)
	defer signal.Stop(signals)
	// A session of its own: what is typed on our terminal is for us alone, and handed on.
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: os.Args, Env: append(os.Environ(), keptRunVariable+"=1"), Stdin: nil, Stdout: os.Stdout, Stderr: os.Stderr,
		ExtraFiles: []*os.File{tell, leash}, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	tell.Close()
	leash.Close()
	if err != nil {
		return &bench.InfraError{Op: "start the run", Err: err}
	}
	code := make(chan int, 1)
	go func() {
		line, _ := bufio.NewReader(told).ReadString('\n') // none: it ends by itself
		if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			code <- n
			return
		}
		_ = cmd.Wait() // its state tells
		code <- exitOf(cmd.ProcessState)
	}()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // it may have just ended
		case n := <-code:
			if n == flow.ExitPass {
				return nil
			}
			return env.ExitCode(n)
		}
	}
}

// exitOf is a process's exit code as a shell tells it.
func exitOf(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// A failureKeeper keeps the machines of a run whose case has failed.
type failureKeeper struct {
	*env.Env
	roster    *vm.Roster
	scale     float64
	endReport func() error // ends what is shown of the run, and writes its flows.Reports
	ctx       context.Context
	tell      *os.File // to the command

	sharing *keep.Sharing // nil unless machines were kept
	over    atomic.Bool   // the flows.Reports have had their end
	holding atomic.Bool   // machines are kept: the command may end
}

// isKeptRun flows.Reports whether this process is the run that [runKept] has started.
func isKeptRun() bool {
	var s unix.Stat_t
	return os.Getenv(keptRunVariable) != "" && unix.Fstat(tellFD, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFIFO
}

// newFailureKeeper is that of a process that [runKept] has started; its context ends with the command as long as no machine
// is kept.
func newFailureKeeper(parent context.Context, e *env.Env, o *flow.Options, endReport func() error) (*failureKeeper, context.Context) {
	ctx, cancel := context.WithCancel(parent)
	roster, _ := flow.Provided[*vm.Roster](o.Resources) // nil knows no machine
	k := &failureKeeper{Env: e, roster: roster, scale: o.TimeoutScale, endReport: endReport, ctx: ctx, tell: os.NewFile(tellFD, "command")}
	shown := o.Observer
	o.Keep, o.Observer = k.keep, func(e flow.Entry) {
		if !k.over.Load() { // what comes after it, done tells the flows.Reports
			shown(e)
		}
	}
	_ = os.Unsetenv(keptRunVariable) // it is not for what we start
	unix.CloseOnExec(tellFD)
	unix.CloseOnExec(leashFD)
	leash := os.NewFile(leashFD, "leash")
	go func() {
		_, _ = leash.Read(make([]byte, 1)) // until the command has ended
		if !k.holding.Load() {
			cancel()
		}
	}()
	return k, ctx
}

// keep is the engine's [flow.Options.Keep].
func (k *failureKeeper) keep(summary flow.Summary, id flow.ID) {
	err := k.endReport()
	k.over.Store(true)
	machines := k.roster.Alive()
	if len(machines) == 0 {
		fmt.Fprintf(k.Err, "vmtb: no machine of %s is alive: there is nothing to keep\n", id)
		return
	}
	sharing, shareErr := k.State.Machines.Share(k.ctx, machines, k.scale)
	if shareErr != nil {
		fmt.Fprintf(k.Err, "vmtb: machines are not kept: %s\n", ansi.Printable(shareErr.Error()))
		return
	}
	k.sharing = sharing
	k.holding.Store(true)
	names := sharing.Names()
	fmt.Fprintf(k.Err, `vmtb: kept for you: %s, of %s
  vmtb vm shell %s    a shell in the guest; also vm exec, cp, console
  vmtb vm off --all    ends the machines, and puts the host back
`, strings.Join(names, ", "), id, names[0])
	k.letGo(ended(k.Env, summary, nil, err))
	sharing.Wait(k.ctx)
}

// letGo has the command end with the exit code of err. Nothing of ours is on its terminal, or in its pipe, from then on.
func (k *failureKeeper) letGo(err error) {
	code := flow.ExitPass
	if err != nil {
		code = flow.ExitError
	}
	if c, ok := errors.AsType[env.ExitCode](err); ok {
		code = int(c)
	}
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for _, fd := range []int{1, 2} {
			_ = unix.Dup3(int(null.Fd()), fd, 0) // else the reader of a pipe waits for us
		}
		null.Close()
	}
	fmt.Fprintln(k.tell, code) // the command may have been killed
	k.tell.Close()
}

// done writes what came after the flows.Reports of the failure, gives the host free, and then answers who ended the last machine:
// whether the host has been put back.
func (k *failureKeeper) done(summary flow.Summary, err error, specs []report.Spec, release func()) error {
	if summary.Unrestored != "" {
		fmt.Fprintf(k.Err, "vmtb: the host was NOT put back as it was: %s\n", ansi.Printable(summary.Unrestored))
		err = errors.Join(err, errors.New(summary.Unrestored))
	}
	reportErr := k.reportAgain(summary.Dir, specs)
	release()
	if k.sharing != nil {
		k.sharing.Close(err)
	}
	return reportErr
}

func (k *failureKeeper) reportAgain(dir string, specs []report.Spec) error {
	run, err := flow.OpenRun(dir)
	if err != nil {
		return err
	}
	files, err := flows.OpenReports(k.Env, dir, append(report.Default(), specs...), nil)
	if err != nil {
		return err
	}
	return report.Replay(files, run)
}
