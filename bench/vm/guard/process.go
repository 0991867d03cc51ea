package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
)

// A Process is a running QEMU with its guard, seen from vmtb.
type Process struct {
	pid  int
	qemu *os.Process // holds a pidfd: signals cannot hit a later process of the same number

	done chan struct{} // closed when QEMU has ended: reaped, all its files closed
	exit Exit          // valid after done

	life      *os.File      // closing it ends the guard, and QEMU
	guardGone chan struct{} // closed when the guard has been reaped
}

// guardStart bounds the time from the guard's start to QEMU's.
const guardStart = 60 * time.Second

// Start starts argv below a guard. The guard is program, whose main calls [Run] first. It removes
// dirs when the process has been closed or vmtb is gone. Both write their output to output.
func Start(ctx context.Context, program, dirs, argv []string, output *os.File) (*Process, error) {
	if os.Getenv(environment) != "" {
		return nil, errors.New("BUG: this process was started as a guard, but its main does not call guard.Run first")
	}
	lifeR, lifeW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	reportR, reportW, err := os.Pipe()
	if err != nil {
		lifeR.Close()
		lifeW.Close()
		return nil, err
	}

	args := arguments(program, dirs, argv)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), environment+"=1")
	cmd.ExtraFiles = []*os.File{lifeR, reportW} // lifeFD, reportFD
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C at the terminal is for vmtb alone
	err = cmd.Start()
	lifeR.Close()
	reportW.Close() // the guard has the only write end now, so vmtb sees the guard's end
	if err != nil {
		lifeW.Close()
		reportR.Close()
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	p := &Process{life: lifeW, done: make(chan struct{}), guardGone: make(chan struct{})}
	reports := json.NewDecoder(reportR)
	if err := p.hello(ctx, reports, reportR); err != nil {
		lifeW.Close()
		_ = cmd.Process.Kill() // it may have ended already
		_ = cmd.Wait()
		reportR.Close()
		return nil, err
	}
	go func() {
		p.follow(reports)
		close(p.done)
		_ = cmd.Wait() // its exit status adds nothing to the reports
		reportR.Close()
		close(p.guardGone)
	}()
	return p, nil
}

// hello reads the guard's first report.
func (p *Process) hello(ctx context.Context, reports *json.Decoder, pipe *os.File) error {
	if err := pipe.SetReadDeadline(time.Now().Add(guardStart)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = pipe.SetReadDeadline(time.Now()) })
	defer stop()
	var r report
	switch err := reports.Decode(&r); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("the guard did not report (does main call guard.Run first?): %w", err)
	case r.Error != "":
		return errors.New(r.Error)
	}
	p.pid = r.PID
	var err error
	if p.qemu, err = os.FindProcess(p.pid); err != nil {
		return fmt.Errorf("find QEMU, pid %d: %w", p.pid, err)
	}
	if !stop() { // ctx has ended, and with it the pipe's deadline
		return context.Cause(ctx)
	}
	return pipe.SetReadDeadline(time.Time{})
}

// follow returns when QEMU has ended.
func (p *Process) follow(reports *json.Decoder) {
	var r report
	if err := reports.Decode(&r); err == nil && r.Ended {
		p.exit = r.Exit
		return
	}
	// The guard is dead, so QEMU is dead or dies soon. QEMU has another parent now: vmtb waits for
	// the end of QEMU by its pidfd.
	p.exit = Exit{Lost: true}
	p.Kill()
	_ = p.qemu.WithHandle(func(pidfd uintptr) {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
}

// PID returns QEMU's process id.
func (p *Process) PID() int { return p.pid }

// Done returns a channel that is closed when QEMU has ended: reaped, all its files closed.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit returns how QEMU ended. It is valid after [Process.Done] is closed.
func (p *Process) Exit() Exit { return p.exit }

// KeepDirs makes the guard leave the directories alone: another process removes them. A guard that
// is dead removes none.
func (p *Process) KeepDirs() { _, _ = p.life.Write([]byte{0}) }

// Kill sends SIGKILL. QEMU has ended when [Process.Done] is closed.
func (p *Process) Kill() { _ = p.qemu.Kill() } // an error means that QEMU has ended

// Close kills QEMU if it still runs, ends the guard and waits for both.
func (p *Process) Close(ctx context.Context) error {
	p.life.Close()
	for _, c := range []chan struct{}{p.done, p.guardGone} {
		select {
		case <-c:
		case <-ctx.Done():
			return p.Stuck(context.Cause(ctx))
		}
	}
	return p.qemu.Release()
}

// Stuck returns the error for a QEMU that does not end.
func (p *Process) Stuck(err error) error {
	return &bench.InfraError{
		Op: fmt.Sprintf("end QEMU (pid %d)", p.pid), Err: err,
		Advice: "a process that ignores SIGKILL hangs in the kernel: see /proc/PID/stack",
	}
}

// Gone reports whether QEMU has ended, now or within d.
func (p *Process) Gone(d time.Duration) bool {
	if d == 0 {
		select {
		case <-p.done:
			return true
		default:
			return false
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}
