package work

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vmtb/bench"
	"vmtb/internal/procfs"
)

// ErrLost is matched by the error for a workload that has ended nobody knows how: it was killed,
// its directory is gone, the machine was booted anew.
var ErrLost = errors.New("the workload is lost")

const (
	pollFirst  = 2 * time.Millisecond
	pollLast   = 250 * time.Millisecond
	lookEvery  = time.Second     // how often Wait looks whether a workload that has not reported is still there
	graceKill  = 2 * time.Second // of bench.Command
	maxSignal  = 64
	sweepTries = 50 // how often we kill before we give up on processes that go on forking
)

// A Run is a workload that was started. Its methods may be called from several goroutines at once.
type Run struct {
	m bench.Machine
	h Handle
}

// Handle is the run as data.
func (r *Run) Handle() Handle { return r.h }

// Workload is what was started.
func (r *Run) Workload() Workload { return r.h.workload() }

// Machine is where it runs.
func (r *Run) Machine() bench.Machine { return r.m }

func (r *Run) String() string { return fmt.Sprintf("%v on %v", r.h.workload(), r.m) }

// On is the same run on what has become of its machine: restored from a snapshot, or migrated.
func (r *Run) On(m bench.Machine) *Run { return &Run{m, r.h} }

// Running reports whether the workload has not ended yet. One that is lost is an error matching
// [ErrLost].
func (r *Run) Running(ctx context.Context) (bool, error) {
	s, err := r.status(ctx, true)
	return err == nil && !s.done, r.fault(err)
}

// Wait waits for the workload's end. When it gives up, with ctx or with an error of the machine
// (one that is paused does not answer), the workload goes on and Wait may be called again. A lost
// workload is an error matching [ErrLost]; the Result beside it has the output that is still there.
func (r *Run) Wait(ctx context.Context) (Result, error) {
	start := time.Now()
	looked := start
	for {
		look := time.Since(looked) >= lookEvery
		if look {
			looked = time.Now()
		}
		s, err := r.status(ctx, look)
		if errors.Is(err, ErrLost) {
			res := Result{Verdict: Fail, Reason: err.Error()}
			_ = r.output(ctx, &res) // it may be gone too
			return res, r.fault(err)
		}
		if err != nil {
			return Result{}, r.fault(err)
		}
		if s.done {
			return r.result(ctx, s)
		}
		if !pause(ctx, min(max(time.Since(start)/8, pollFirst), pollLast)) {
			return Result{}, r.fault(context.Cause(ctx))
		}
	}
}

// result is how a workload went that has ended.
func (r *Run) result(ctx context.Context, s status) (Result, error) {
	res := Result{Verdict: Pass, Exit: bench.Result{ExitCode: s.code}}
	if s.code > 128 && s.code <= 128+maxSignal {
		res.Exit = bench.Result{Signal: s.code - 128}
	}
	if err := r.output(ctx, &res); err != nil {
		return res, r.fault(err)
	}
	return res, r.fault(r.h.workload().judge(ctx, r.m, r.h.Dir, &res))
}

func (r *Run) output(ctx context.Context, res *Result) (err error) {
	if res.Exit.Stdout, err = r.m.ReadFile(ctx, path.Join(r.h.Dir, "out")); err != nil {
		return err
	}
	res.Exit.Stderr, err = r.m.ReadFile(ctx, path.Join(r.h.Dir, "err"))
	return err
}

// Output is what the workload has written until now.
func (r *Run) Output(ctx context.Context) (stdout, stderr []byte, err error) {
	var res Result
	err = r.output(ctx, &res)
	return res.Exit.Stdout, res.Exit.Stderr, r.fault(err)
}

// Kill ends all processes of the workload, politely with SIGTERM and after grace (0 is 2 s) by
// force. A workload that has ended is no error, and what it has left behind is killed too. Wait
// then tells that it was killed.
func (r *Run) Kill(ctx context.Context, grace time.Duration) error {
	if grace == 0 {
		grace = graceKill
	}
	left, err := sweep(ctx, r.m, r.h, syscall.SIGTERM)
	for start := time.Now(); err == nil && left && time.Since(start) < grace; {
		if !pause(ctx, min(max(time.Since(start)/8, pollFirst), pollLast)) {
			return r.fault(context.Cause(ctx))
		}
		left, err = sweep(ctx, r.m, r.h, 0)
	}
	if err == nil {
		err = sweepAll(ctx, r.m, r.h)
	}
	return r.fault(err)
}

// Remove removes what the run has left on the machine: its private directory, and IGT's results.
// Whatever of it still runs is killed first.
func (r *Run) Remove(ctx context.Context) error {
	j, err := r.h.workload().job(r.h.Dir)
	if err == nil {
		err = Leftover{Dir: r.h.Dir, Results: j.results}.clean(ctx, r.m)
	}
	return r.fault(err)
}

func (r *Run) fault(err error) error {
	if err == nil {
		return nil
	}
	return fault(r.m, r.h.workload(), err)
}

// A status is what the files of a run say.
type status struct {
	done bool
	code int // as a shell gives it
}

// status reads how far a workload is; with look also whether it is still there.
func (r *Run) status(ctx context.Context, look bool) (status, error) {
	s, err := r.state(ctx)
	if err != nil || s.done || !look {
		return s, err
	}
	alive, err := r.alive(ctx)
	if err != nil || alive {
		return s, err
	}
	if s, err = r.state(ctx); err != nil || s.done { // it may have ended in between
		return s, err
	}
	boot, err := r.m.ReadFile(ctx, procfs.BootIDFile)
	if err == nil && strings.TrimSpace(string(boot)) != r.h.Boot {
		return s, fmt.Errorf("%w: the machine was booted anew", ErrLost)
	}
	return s, fmt.Errorf("%w: its process %d is gone without an exit code: killed by somebody", ErrLost, r.h.PID)
}

func (r *Run) state(ctx context.Context) (status, error) {
	name := path.Join(r.h.Dir, "state")
	data, err := r.m.ReadFile(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return status{}, fmt.Errorf("%w: %w", ErrLost, err)
	}
	if err != nil {
		return status{}, err
	}
	s, err := parseState(string(data))
	if err != nil {
		err = fmt.Errorf("%w: %s: %w", ErrLost, name, err)
	}
	return s, err
}

func parseState(text string) (status, error) {
	fields := strings.Fields(text)
	switch {
	case len(fields) == 1 && fields[0] == "running":
		return status{}, nil
	case len(fields) == 2 && fields[0] == "exit":
		code, err := strconv.ParseUint(fields[1], 10, 8)
		if err != nil {
			return status{}, err
		}
		return status{done: true, code: int(code)}, nil
	}
	return status{}, fmt.Errorf("%q is neither running nor an exit code", text)
}

// alive reports whether the shell that watches the workload is there.
func (r *Run) alive(ctx context.Context) (bool, error) {
	data, err := r.m.ReadFile(ctx, procfs.StatFile(r.h.PID))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	stat, err := procfs.ParseStat(string(data))
	return err == nil && !stat.Dead() && stat.StartTime == r.h.Start, err
}

// sweep sends a signal (0: none) to all processes of a run and reports whether there were any.
func sweep(ctx context.Context, m execer, h Handle, sig syscall.Signal) (found bool, err error) {
	c := bench.Command{Argv: []string{
		shell, "-c", sweepScript, "sh", strconv.Itoa(int(sig)), h.mark(),
		strconv.Itoa(h.Session), strconv.FormatUint(h.Start, 10), h.Boot, path.Join(h.Dir, "state"),
	}}
	r, err := m.Exec(ctx, c)
	if err == nil && !r.OK() {
		err = r.Err(bench.Command{Argv: []string{"kill", h.Dir}})
	}
	return strings.TrimSpace(string(r.Stdout)) != "", err
}

// sweepAll kills until there is nobody left: processes may fork while we look for them.
func sweepAll(ctx context.Context, m execer, h Handle) error {
	for try := range sweepTries {
		found, err := sweep(ctx, m, h, syscall.SIGKILL)
		if err != nil || !found {
			return err
		}
		if !pause(ctx, min(time.Duration(try)*5*pollFirst, pollLast)) {
			return context.Cause(ctx)
		}
	}
	return errors.New("its processes do not die")
}

// pause reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
