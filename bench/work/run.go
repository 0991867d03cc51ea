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

// ErrLost is the error for a workload that has ended with an unknown result: it was killed, its
// directory is gone, or the machine was rebooted.
var ErrLost = errors.New("the workload is lost")

const (
	pollFirst  = 2 * time.Millisecond
	pollLast   = 250 * time.Millisecond
	lookEvery  = time.Second     // how often Wait checks that a silent workload still runs
	graceKill  = 2 * time.Second // of bench.Command
	maxSignal  = 64
	sweepTries = 50 // how often Kill retries while processes keep forking
)

// A Run is a workload that was started. Its methods may be called from several goroutines at once.
type Run struct {
	m bench.Machine
	h Handle
}

// Handle returns the run as data.
func (r *Run) Handle() Handle { return r.h }

// Workload returns the workload that was started.
func (r *Run) Workload() Workload { return r.h.workload() }

// Machine returns the machine on which the workload runs.
func (r *Run) Machine() bench.Machine { return r.m }

func (r *Run) String() string { return fmt.Sprintf("%v on %v", r.h.workload(), r.m) }

// On returns the same run on machine m. m must be the same machine, restored from a snapshot or
// migrated.
func (r *Run) On(m bench.Machine) *Run { return &Run{m, r.h} }

// Running reports whether the workload has not ended yet. If the workload is lost, the error
// matches [ErrLost].
func (r *Run) Running(ctx context.Context) (bool, error) {
	s, err := r.status(ctx, true)
	return err == nil && !s.done, r.fault(err)
}

// Wait waits until the workload ends. It fails when ctx ends or the machine does not answer
// (because it is paused, for example). The workload keeps running then, and Wait may be called
// again. If the workload is lost, the error matches [ErrLost], and the Result has the output that
// still exists.
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
			_ = r.output(ctx, &res) // the output may be gone too
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

// result returns the result of a workload that has ended.
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

// Output returns the workload's output so far.
func (r *Run) Output(ctx context.Context) (stdout, stderr []byte, err error) {
	var res Result
	err = r.output(ctx, &res)
	return res.Exit.Stdout, res.Exit.Stderr, r.fault(err)
}

// Kill ends all processes of the workload: with SIGTERM, and after grace (0 means 2 s) with
// SIGKILL. If the workload has ended already, Kill ends its remaining processes without an error.
// Wait then reports that the workload was killed.
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

// Remove removes the run's files from the machine: its private directory, and IGT's results. It
// kills running processes of the run first.
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

// A status is the content of a run's state files.
type status struct {
	done bool
	code int // exit code, as a shell reports it
}

// status reads the state of a workload. If look is true, it also checks that the workload still
// runs.
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
		return s, fmt.Errorf("%w: the machine was booted again", ErrLost)
	}
	return s, fmt.Errorf("%w: process %d was killed, and left no exit code", ErrLost, r.h.PID)
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

// alive reports whether the shell that supervises the workload runs.
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

// sweep sends a signal (0: none) to all processes of a run, and reports whether there were any.
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

// sweepAll repeats sweep until no process is left: processes may fork meanwhile.
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
	return errors.New("processes of the workload are still running after SIGKILL")
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
