package work

import (
	"context"
	"errors"
	"fmt"

	"vmtb/bench"
)

// A Workload is what to run: [Shell], [IGT] or [Wsim].
type Workload interface {
	fmt.Stringer
	// job says what to run when dir is the run's private directory on the machine.
	job(dir string) (job, error)
	// judge looks at how it ended, and adds to r what this kind of workload tells.
	judge(ctx context.Context, m bench.Machine, dir string, r *Result) error
}

// A job is a workload in the machine's terms.
type job struct {
	command bench.Command
	files   map[string][]byte // to be written to the private directory
	parents []string          // directories that must be there
	results string            // a directory outside the private one, removed with it
}

// A Verdict is the outcome in one word.
type Verdict string

// The verdicts.
const (
	Pass Verdict = "pass"
	Fail Verdict = "fail"
	Skip Verdict = "skip"
)

// A Result is how a workload went.
type Result struct {
	Verdict Verdict
	Reason  string // why it is not [Pass], "" if it is

	// Exit has the whole output. A shell cannot distinguish the exit codes 129 to 192 from signals:
	// they count as signals.
	Exit bench.Result
	IGT  *IGTResults // of [IGT], nil if it left none
	Wsim *WsimResult // of [Wsim], nil if it said none
}

// Err is nil for [Pass], else an error with the reason.
func (r Result) Err() error {
	if r.Verdict == Pass {
		return nil
	}
	return fmt.Errorf("%s: %s", r.Verdict, r.Reason)
}

// fail makes the first reason the verdict.
func (r *Result) fail(format string, args ...any) {
	if r.Verdict != Fail {
		r.Verdict, r.Reason = Fail, fmt.Sprintf(format, args...)
	}
}

// Do starts a workload, waits for its end and removes what it left on the machine. When ctx ends,
// the workload is killed.
func Do(ctx context.Context, m bench.Machine, w Workload, o Options) (Result, error) {
	run, err := Start(ctx, m, w, o)
	if err != nil {
		return Result{}, err
	}
	r, err := run.Wait(ctx)
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	if err != nil {
		err = errors.Join(err, run.Kill(clean, 0))
	}
	return r, errors.Join(err, run.Remove(clean))
}

// A Shell workload is a line for /bin/sh. It passes when it exits with 0.
type Shell struct {
	Line  string   `json:"line"`
	Env   []string `json:"env,omitempty"`
	Dir   string   `json:"dir,omitempty"` // working directory, "/" by default
	Stdin []byte   `json:"stdin,omitempty"`
}

func (s Shell) String() string { return s.Line }

func (s Shell) job(string) (job, error) {
	c := bench.Shell(s.Line)
	c.Env, c.Dir, c.Stdin = s.Env, s.Dir, s.Stdin
	return job{command: c}, nil
}

func (s Shell) judge(_ context.Context, _ bench.Machine, _ string, r *Result) error {
	if err := r.Exit.Err(bench.Shell(s.Line)); err != nil {
		r.fail("%v", err)
	}
	return nil
}
