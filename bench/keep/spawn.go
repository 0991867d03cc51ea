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

// startedFD is where a keeper finds the pipe to tell its start to.
const startedFD = 3

// Started is the writer for [Run] in a process that [Store.Start] has started.
func Started() *os.File {
	syscall.CloseOnExec(startedFD) // else QEMU's guard would hold it open
	return os.NewFile(startedFD, "started")
}

// spawn starts the keeper of a machine whose folder has been made, and waits until its machine has
// started.
func (r Record) spawn(ctx context.Context, argv []string) (*Client, error) {
	log, err := os.OpenFile(filepath.Join(r.Dir, LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, &bench.InfraError{Op: "start the keeper", Err: err}
	}
	defer log.Close()
	told, tell, err := os.Pipe()
	if err != nil {
		return nil, &bench.InfraError{Op: "start the keeper", Err: err}
	}
	defer told.Close()
	// It outlives us: neither our end, nor that of our terminal, nor the Ctrl-C that is for us,
	// concerns it.
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: argv, Dir: "/", Stdout: log, Stderr: log, ExtraFiles: []*os.File{tell},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	tell.Close()
	if err != nil {
		return nil, &bench.InfraError{Op: "start the keeper", Err: err}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // reaps it should it end while we live
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	err = receive(told, Output{}, nil)
	if err == nil {
		return r.client(), nil
	}
	exit := <-ended // what it has changed is put back
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.As(err, new(*Error)) {
		return nil, err
	}
	return nil, &bench.InfraError{Op: "start the keeper", Err: errors.Join(err, exit), Advice: "see " + log.Name()}
}
