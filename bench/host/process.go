package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"vmtb/bench"
)

// deathTime is how long a process may take to end after SIGKILL. It does not end while it is
// blocked in the kernel (state D).
const deathTime = 5 * time.Second

// A process is a command that leads its own process group.
type process struct {
	name    string
	cmd     *exec.Cmd
	grace   time.Duration
	streams []*stream // stdout and stderr; one if they are the same

	// Closed after the process ended and its output is complete; the two below are set then.
	done   chan struct{}
	result bench.Result
	err    error
}

// Spawn implements [System].
func (OS) Spawn(ctx context.Context, c bench.Command) (bench.Process, error) {
	if len(c.Argv) == 0 {
		return nil, &bench.UsageError{Err: errors.New("empty command")}
	}
	p := &process{name: c.String(), grace: cmp.Or(c.Grace, bench.DefaultGrace), done: make(chan struct{})}
	if ctx.Err() != nil {
		return nil, p.fault("run", context.Cause(ctx))
	}
	// Kill replaces ctx's cancellation.
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), c.Argv[0], c.Argv[1:]...)
	p.cmd.Dir, p.cmd.Env = c.Dir, append(os.Environ(), c.Env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.start(c); err != nil {
		return nil, &bench.HostError{Op: "run", Noun: c.Argv[0], Err: err}
	}
	return p, nil
}

// start opens the pipes, starts the process, and starts the goroutines that read its output.
func (p *process) start(c bench.Command) error {
	ends, err := p.connect(c)
	defer func() {
		for _, f := range ends {
			_ = f.Close()
		}
	}()
	if err == nil {
		err = p.feed(c.Stdin)
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		for _, s := range p.streams {
			_ = s.pipe.Close()
		}
		return err
	}
	for _, s := range p.streams {
		go s.copy(p.breakOff)
	}
	go p.watch()
	return nil
}

// connect makes a stream for each output, and returns the process's ends of them.
func (p *process) connect(c bench.Command) (ends []*os.File, err error) {
	s, end, err := newStream(c.Stdout)
	if err != nil {
		return nil, err
	}
	p.streams, ends = append(p.streams, s), append(ends, end)
	p.cmd.Stdout, p.cmd.Stderr = end, end
	if c.OneStream() {
		return ends, nil
	}
	s, end, err = newStream(c.Stderr)
	if err != nil {
		return ends, err
	}
	p.streams, ends = append(p.streams, s), append(ends, end)
	p.cmd.Stderr = end
	return ends, nil
}

// feed writes the process's input. Wait of os/exec closes the pipe when the process has ended.
func (p *process) feed(input []byte) error {
	if len(input) == 0 {
		return nil // os/exec opens /dev/null
	}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	go func() {
		_, _ = in.Write(input) // a command need not read all its input
		_ = in.Close()
	}()
	return nil
}

// watch waits for the process to end, and then for the end of its output. If another process holds
// the output open, watch waits only for drainTime.
func (p *process) watch() {
	defer close(p.done)
	err := p.cmd.Wait()
	for _, s := range p.streams {
		s.ended(p.grace + time.Second)
	}
	for _, s := range p.streams {
		<-s.done
		if s.err != nil && p.err == nil {
			p.err = &bench.InfraError{Op: "pass on the output of " + p.name, Err: s.err}
		}
	}
	p.result = result(p.cmd.ProcessState, p.streams[0], p.streams[len(p.streams)-1])
	if exit := (*exec.ExitError)(nil); p.err == nil && err != nil && !errors.As(err, &exit) {
		p.err = p.fault("run", err)
	}
}

// breakOff kills a process whose output writer has failed.
func (p *process) breakOff() { _, _ = p.Kill(context.Background()) }

func (p *process) PID() int { return p.cmd.Process.Pid }

func (p *process) Signal(_ context.Context, sig int) error {
	if err := p.cmd.Process.Signal(syscall.Signal(sig)); err != nil {
		return p.fault("signal", err)
	}
	return nil
}

func (p *process) Wait(ctx context.Context) (bench.Result, error) {
	select {
	case <-p.done:
		return p.result, p.err
	default:
	}
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		return bench.Result{}, p.fault("run", fmt.Errorf("not finished in time: %w", context.Cause(ctx)))
	}
}

func (p *process) Kill(ctx context.Context) (bench.Result, error) {
	if p.endedWithin(ctx, 0) {
		return p.result, nil
	}
	if err := killGroup(p.PID(), syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return bench.Result{}, p.fault("kill", err)
	}
	p.endedWithin(ctx, p.grace)
	if err := killGroup(p.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return bench.Result{}, p.fault("kill", err)
	}
	if !p.endedWithin(ctx, p.grace+deathTime) {
		return bench.Result{}, p.fault(
			"kill", fmt.Errorf("pid %d has not ended after SIGKILL, or its output cannot be passed on", p.PID()),
		)
	}
	return p.result, nil
}

func (p *process) endedWithin(ctx context.Context, d time.Duration) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
	case <-ctx.Done():
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) fault(op string, err error) error {
	return &bench.HostError{Op: op, Noun: p.name, Err: err}
}

// killGroup signals a command and its descendants. It is no error if they have ended already.
func killGroup(pid int, sig syscall.Signal) error {
	err := syscall.Kill(-pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func result(state *os.ProcessState, stdout, stderr *stream) bench.Result {
	r := bench.Result{
		Stdout: stdout.kept.Bytes(), Stderr: stderr.kept.Bytes(),
		StdoutTruncated: stdout.cut || stdout.kept.truncated, StderrTruncated: stderr.cut || stderr.kept.truncated,
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		r.Signal = int(ws.Signal())
	} else {
		r.ExitCode = state.ExitCode()
	}
	return r
}
