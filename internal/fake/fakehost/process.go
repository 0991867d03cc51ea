package fakehost

import (
	"context"
	"io"
	"os"
	"syscall"

	"vmtb/bench"
)

// ended is a fake process. It has ended when it starts.
type ended struct {
	result bench.Result
	err    error
}

// Spawn implements host.System.
func (h *Host) Spawn(ctx context.Context, c bench.Command) (bench.Process, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r, err := h.run(c)
	if err != nil {
		return nil, err
	}
	err = deliver(c.Stdout, &r.Stdout)
	if failed := deliver(c.Stderr, &r.Stderr); err == nil {
		err = failed
	}
	return ended{r, err}, nil
}

// Exec implements host.System for modprobe, dmesg and rtcwake.
func (h *Host) Exec(ctx context.Context, c bench.Command) (bench.Result, error) {
	p, err := h.Spawn(ctx, c)
	if err != nil {
		return bench.Result{}, err
	}
	return bench.Finish(ctx, p)
}

// run plays the programs.
func (h *Host) run(c bench.Command) (bench.Result, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case len(c.Argv) == 0:
		return bench.Result{}, &bench.UsageError{Err: os.ErrInvalid}
	case c.Argv[0] == "dmesg":
		return bench.Result{
			Stdout: []byte("[    1.0] fake: a line\n[    2.0] xe: this is what the fake kernel says\n"),
		}, nil
	case c.Argv[0] == "rtcwake":
		return h.rtcwake(c.Argv[1:])
	case c.Argv[0] == "modprobe":
		return h.modprobe(c.Argv[1:])
	}
	return bench.Result{}, &bench.HostError{Op: "run", Noun: c.Argv[0], Err: syscall.ENOENT}
}

// deliver moves output to its writer, if there is one.
func deliver(w io.Writer, output *[]byte) (err error) {
	if w != nil && len(*output) > 0 {
		_, err = w.Write(*output)
		*output = nil
	}
	if err != nil {
		return &bench.InfraError{Op: "pass on the output of a command", Err: err}
	}
	return nil
}

func (ended) PID() int                                     { return 4711 }
func (ended) Signal(context.Context, int) error            { return os.ErrProcessDone }
func (p ended) Wait(context.Context) (bench.Result, error) { return p.result, p.err }
func (p ended) Kill(context.Context) (bench.Result, error) { return p.result, nil }
