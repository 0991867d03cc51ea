package work

import (
	"context"
	"errors"
	"fmt"

	"vmtb/bench"
)

// A Workload is a program to run: [Shell], [IGT] or [Wsim].
type Workload interface {
	fmt.Stringer
	// job returns the job for the workload. dir is the run's private directory on the machine.
	job(dir string) (job, error)
	// judge examines how the workload ended, and adds the results of this kind of workload to r.
	judge(ctx context.Context, m bench.Machine, dir string, r *Result) error
}

// A job is a workload as commands and files for a machine.
type job struct {
	command bench.Command
	files   map[string][]byte // to be written to the private directory
	parents []string          // directories that must exist
	results string            // a directory outside the private one, removed together with it
}

// A Verdict is the result of a workload in one word.
type Verdict string

// These are the verdicts.
const (
	Pass Verdict = "pass"
	Fail Verdict = "fail"
	Skip Verdict = "skip"
)

// A Result is the result of a workload.
type Result struct {
	Verdict Verdict
	Reason  string // why the verdict is not [Pass]; "" if it is

	// Exit has the whole output. A shell does not distinguish the exit codes 129 to 192 from
	// signals: they count as signals.
	Exit bench.Result
	IGT  *IGTResults // for [IGT]; nil if there are no results
	Wsim *WsimResult // for [Wsim]; nil if its output has no results
}

// Err returns nil for [Pass], or an error with the reason.
func (r Result) Err() error {
	if r.Verdict == Pass {
		return nil
	}
	return fmt.Errorf("%s: %s", r.Verdict, r.Reason)
}

// fail sets the verdict and its reason, unless an earlier call did.
func (r *Result) fail(format string, args ...any) {
	if r.Verdict != Fail {
		r.Verdict, r.Reason = Fail, fmt.Sprintf(format, args...)
	}
}

// Do starts a workload, waits until it ends, and removes its files from the machine. When ctx ends,
// Do kills the workload.
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

// A Shell workload is a command line for /bin/sh. It passes if it exits with 0.
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
