package host

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"vmtb/bench"
	"vmtb/bench/sysfs"
	"vmtb/bench/undo"
)

// OS is the operating system that this process runs on.
type OS struct{ undo.OS }

var (
	_ System       = OS{}
	_ sysfs.Opener = OS{}
)

// Create implements [System].
func (OS) Create(path string, data []byte) error { return os.WriteFile(path, data, 0o644) }

// OpenFile opens an existing file as a stream; see [sysfs.Opener].
func (OS) OpenFile(path string, flag int) (io.ReadWriteCloser, error) {
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err // not a nil *os.File in an interface
	}
	return f, nil
}

// outputLimit is how much of each output stream is kept. More is read and dropped, so the command does not block.
const outputLimit = 64 << 20

// Exec implements [System].
func (OS) Exec(ctx context.Context, c bench.Command) (bench.Result, error) {
	if len(c.Argv) == 0 {
		return bench.Result{}, &bench.UsageError{Err: errors.New("empty command")}
	}
	grace := cmp.Or(c.Grace, 2*time.Second)
	var stdout, stderr capped
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), c.Env...)
	if c.Stdin != nil {
		cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = grace + time.Second // for output that a stray grandchild keeps open
	var final *time.Timer
	cmd.Cancel = func() error {
		final = time.AfterFunc(grace, func() { _ = killGroup(cmd.Process.Pid, syscall.SIGKILL) })
		return killGroup(cmd.Process.Pid, syscall.SIGTERM)
	}
	if err := cmd.Start(); err != nil {
		return bench.Result{}, &bench.HostError{Op: "run", Noun: c.Argv[0], Err: err}
	}
	err := cmd.Wait()
	if final != nil { // ctx ended: whoever of the group is left is not waited for
		final.Stop()
		_ = killGroup(cmd.Process.Pid, syscall.SIGKILL)
	}
	r := result(cmd.ProcessState, &stdout, &stderr)
	if errors.Is(err, exec.ErrWaitDelay) {
		r.StdoutTruncated, r.StderrTruncated = true, true
	}
	if ctx.Err() != nil && final != nil {
		return r, &bench.HostError{Op: "run", Noun: c.String(), Err: fmt.Errorf("not finished in time: %w", context.Cause(ctx))}
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return r, &bench.HostError{Op: "run", Noun: c.String(), Err: err}
	}
	return r, nil
}

// killGroup signals a command and its descendants; one that has ended is no error.
func killGroup(pid int, sig syscall.Signal) error {
	err := syscall.Kill(-pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func result(state *os.ProcessState, stdout, stderr *capped) bench.Result {
	r := bench.Result{
		Stdout: stdout.Bytes(), Stderr: stderr.Bytes(),
		StdoutTruncated: stdout.truncated, StderrTruncated: stderr.truncated,
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		r.Signal = int(ws.Signal())
	} else {
		r.ExitCode = state.ExitCode()
	}
	return r
}

// capped is a buffer that takes outputLimit bytes and drops the rest.
type capped struct {
	bytes.Buffer
	truncated bool
}

func (b *capped) Write(p []byte) (int, error) {
	room := outputLimit - b.Len()
	if len(p) > room {
		b.truncated = true
		_, err := b.Buffer.Write(p[:room])
		return len(p), err
	}
	return b.Buffer.Write(p)
}
