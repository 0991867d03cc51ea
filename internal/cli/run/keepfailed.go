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

// With --keep-on-failure the machines of the failed case must outlive the command. The process of
// the run has everything that they need: QEMU's monitor, the connection to the agent, the journal
// of host changes, and the code that tears the fixture down. So the command starts itself again as
// the run, and shows the run's output:
//
//	vmtb run --keep-on-failure ──spawns──> the run ──> guards ──> QEMU
//	         <──────exit code─────────────
//
// When a case has failed, the run writes its reports, shares its machines (see [keep.Sharing]) and
// sends its exit code to the command. The command ends. The run lives until its machines have
// ended, tears down, and restores the host.

// The run has these files after standard error: one for its exit code, and a pipe that is closed
// when the command ends.
const (
	exitCodeFD = 3
	leashFD    = 4
)

// keptRunVariable is set in the environment of a run that [runKept] has started.
const keptRunVariable = "VMTB_KEPT_RUN"

// runKept starts the run as a separate process. It returns the exit code of the run when the run
// has ended or keeps machines.
func runKept() error {
	codeIn, codeOut, err := os.Pipe()
	if err != nil {
		return &bench.InfraError{Op: "start the run", Err: err}
	}
	defer codeIn.Close()
	leash, hold, err := os.Pipe()
	if err != nil {
		codeOut.Close()
		return &bench.InfraError{Op: "start the run", Err: err}
	}
	defer hold.Close()
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, env.EndSignals()...)
	defer signal.Stop(signals)
	// The run has its own session, so Ctrl-C on our terminal signals only us. We pass signals on.
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: os.Args, Env: append(os.Environ(), keptRunVariable+"=1"), Stdin: nil,
		Stdout: os.Stdout, Stderr: os.Stderr,
		ExtraFiles: []*os.File{codeOut, leash}, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	codeOut.Close()
	leash.Close()
	if err != nil {
		return &bench.InfraError{Op: "start the run", Err: err}
	}
	code := make(chan int, 1)
	go func() {
		// Without a line, the run ends by itself.
		line, _ := bufio.NewReader(codeIn).ReadString('\n')
		if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			code <- n
			return
		}
		_ = cmd.Wait() // the exit code is in its state
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

// exitOf returns the exit code of a process as a shell reports it.
func exitOf(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// A failureKeeper keeps the machines of a run after a case has failed.
type failureKeeper struct {
	*env.Env
	roster    *vm.Roster
	scale     float64
	endReport func() error // ends the report on the terminal, and writes the other reports
	ctx       context.Context
	codeOut   *os.File // for the exit code

	sharing  *keep.Sharing // nil unless machines were kept
	reported atomic.Bool   // the reports are written
	holding  atomic.Bool   // machines are kept: the command may end
}

// isKeptRun reports whether runKept has started this process.
func isKeptRun() bool {
	var s unix.Stat_t
	return os.Getenv(keptRunVariable) != "" && unix.Fstat(exitCodeFD, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFIFO
}

// newFailureKeeper returns the failureKeeper of a run that [runKept] has started. The context ends
// when the command ends, unless machines are kept by then.
func newFailureKeeper(
	parent context.Context, e *env.Env, o *flow.Options, endReport func() error,
) (*failureKeeper, context.Context) {
	ctx, cancel := context.WithCancel(parent)
	roster, _ := flow.Provided[*vm.Roster](o.Resources) // a nil roster has no machines
	k := &failureKeeper{
		Env: e, roster: roster, scale: o.TimeoutScale, endReport: endReport, ctx: ctx,
		codeOut: os.NewFile(exitCodeFD, "command"),
	}
	shown := o.Observer
	o.Keep, o.Observer = k.keep, func(e flow.Entry) {
		if !k.reported.Load() { // finish reports what happens later
			shown(e)
		}
	}
	_ = os.Unsetenv(keptRunVariable) // our children are no kept runs
	unix.CloseOnExec(exitCodeFD)
	unix.CloseOnExec(leashFD)
	leash := os.NewFile(leashFD, "leash")
	go func() {
		_, _ = leash.Read(make([]byte, 1)) // it returns when the command has ended
		if !k.holding.Load() {
			cancel()
		}
	}()
	return k, ctx
}

// keep is the engine's [flow.Options.Keep].
func (k *failureKeeper) keep(summary flow.Summary, id flow.ID) {
	err := k.endReport()
	k.reported.Store(true)
	machines := k.roster.Alive()
	if len(machines) == 0 {
		fmt.Fprintf(k.Err, "vmtb: no machine of %s is alive, so none is kept\n", id)
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
  vmtb vm off --all    ends the machines, and restores the host
`, strings.Join(names, ", "), id, names[0])
	k.endCommand(ended(k.Env, summary, nil, err))
	sharing.Wait(k.ctx)
}

// endCommand makes the command end with the exit code of err. Afterwards this process has closed
// the command's terminal and pipes.
func (k *failureKeeper) endCommand(err error) {
	code := flow.ExitPass
	if err != nil {
		code = flow.ExitError
	}
	if c, ok := errors.AsType[env.ExitCode](err); ok {
		code = int(c)
	}
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for _, fd := range []int{1, 2} {
			_ = unix.Dup3(int(null.Fd()), fd, 0) // otherwise the reader of a pipe waits for us
		}
		null.Close()
	}
	fmt.Fprintln(k.codeOut, code) // the command may have been killed
	k.codeOut.Close()
}

// finish writes the reports again, with the events after the failure, and releases the host. Then
// it answers the client that has ended the last machine. The answer says whether the host was
// restored.
func (k *failureKeeper) finish(summary flow.Summary, err error, specs []report.Spec, release func()) error {
	if summary.Unrestored != "" {
		fmt.Fprintf(k.Err, "vmtb: the host was NOT restored: %s\n", ansi.Printable(summary.Unrestored))
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
