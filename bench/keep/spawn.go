package keep

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"vmtb/bench"
)

// startedFD is the keeper's file descriptor of the pipe on which it reports its start.
const startedFD = 3

// Started returns the writer to pass to [Run] in a process started by [Store.Start].
func Started() *os.File {
	syscall.CloseOnExec(startedFD) // otherwise QEMU's guard would hold it open
	return os.NewFile(startedFD, "started")
}

// spawn starts the keeper of a machine whose folder exists, and waits until the machine has
// started.
func (r Record) spawn(ctx context.Context, argv []string) (*Client, error) {
	log, err := os.OpenFile(filepath.Join(r.Dir, LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, &bench.InfraError{Op: "start the keeper", Err: err}
	}
	defer log.Close()
	reports, keeper, err := os.Pipe()
	if err != nil {
		return nil, &bench.InfraError{Op: "start the keeper", Err: err}
	}
	defer reports.Close()
	// The keeper outlives this process and its terminal. Ctrl-C does not reach it.
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: argv, Dir: "/", Stdout: log, Stderr: log, ExtraFiles: []*os.File{keeper},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	keeper.Close()
	if err != nil {
		return nil, &bench.InfraError{Op: "start the keeper", Err: err}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // reaps the keeper if it ends while we run
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	err = receive(reports, Output{}, nil)
	if err == nil {
		return r.client(), nil
	}
	exit := <-ended // the keeper has undone its changes
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.As(err, new(*Error)) {
		return nil, err
	}
	return nil, &bench.InfraError{Op: "start the keeper", Err: errors.Join(err, exit), Advice: "see " + log.Name()}
}
