package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"vmtb/bench"
	"vmtb/internal/atomicfile"
	"vmtb/internal/prose"
)

// Options are the options of a run. Only Dir is required.
type Options struct {
	Dir          string          // the run directory to create; one that exists must be empty
	Version, DUT string          // for run.json: version of the program, and a line that names the host under test
	Argv         []string        // for run.json
	Config       json.RawMessage // for run.json
	Notes        []string        // for run.json: notes of Select
	Environment  []Fact          // for run.json

	KernelLogRules json.RawMessage // for run.json: the rules of Watch

	Policy Policy // how to react to results

	TimeoutScale float64       // multiplies every deadline; 0 is 1
	Timeout      time.Duration // of the whole run, unscaled; 0 is none
	Grace        time.Duration // from a deadline until the goroutine is abandoned, unscaled; 0 is 10 s

	Resources *Resources // for the fixtures
	// Keep, if not nil, ends the run at the first failed case, without tearing its fixture down.
	// When the rest of the run is done and recorded, the run calls Keep with its summary and the id
	// of the fixture. Keep returns when the user has finished looking. Then the fixture is torn
	// down and the host restored, as another part of the run.
	Keep func(Summary, ID)

	Kill <-chan struct{} // closed to end the run without graceful tear-down; nil: never

	// OpenUndo opens the journal of host changes at this path in the run directory. nil means that
	// the flows change nothing on the host. If the journal is an io.Closer, Run closes it at the
	// end.
	OpenUndo func(path string) (Undo, error)
	Reboot   func(ctx context.Context) error // reboots the host, for T.Reboot; nil: the run cannot
	Watch    Watcher                         // watches kernel logs; nil: none
	// RerunIncomplete makes [Resume] run again the cases that were cut off, also those that took
	// the host down.
	RerunIncomplete bool
	// Evidence is called when a case or a fixture missed its deadline, after the grace period and
	// before the tear-down. It may write files that explain the failure into dir.
	Evidence func(ctx context.Context, id ID, dir string)

	Started  func(Info)   // called when run.json is on disk, before the first entry
	Observer func(Entry)  // called for each entry on disk, one at a time; must not log into the run
	Log      *slog.Logger // also gets the logs of flows; nil: none
}

const (
	defaultGrace    = 10 * time.Second
	evidenceTimeout = 30 * time.Second
)

// Run runs the items in their order. A directory that is not empty is a [bench.UsageError]. If the
// run directory or the journal cannot be written, the error is a [bench.InfraError]. Failures of
// flows are in the Summary, not in the error.
func Run(ctx context.Context, items []Item, o Options) (Summary, error) {
	r, err := newRunner(items, o)
	if err != nil {
		return Summary{}, err
	}
	return r.finish(ctx)
}

func (r *runner) finish(ctx context.Context) (Summary, error) {
	defer r.lock.Close()
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	go func() {
		select {
		case <-r.Kill:
			r.stop(errInterrupted)
		case <-ctx.Done():
		}
	}()
	r.run(ctx)
	err := r.close()
	if r.journalErr != nil {
		err = &bench.InfraError{Op: "write the journal of the run", Err: r.journalErr, Advice: "is the disk full?"}
	}
	return r.summary, err
}

// close closes the journals of the run.
func (r *runner) close() error {
	err := r.journal.close()
	if c, ok := r.undo.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

// A runner is one run in progress.
type runner struct {
	Options
	info       Info
	lock       *os.File
	undo       Undo
	journal    *journal
	journalErr error // guarded by the journal's lock until the run is over
	summary    Summary
	cases      map[ID]standing // of cases that have ended; the runner's goroutine writes it under the journal's lock
	boot       string          // id of the host's present boot, in a resumed run
	past       []Entry         // entries before the resume; nil for a new run
	stop       context.CancelCauseFunc
	kept       *fixture // fixture of the failed case, for Options.Keep
}

var errInterrupted = errors.New("interrupted")

func newRunner(items []Item, o Options) (*runner, error) {
	o.setDefaults()
	if err := o.Policy.Check(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	r := &runner{Options: o, cases: map[ID]standing{}}
	if r.lock, err = makeRunDir(dir); err != nil {
		return nil, err
	}
	if err := r.create(dir, items); err != nil {
		r.lock.Close()
		return nil, &bench.InfraError{Op: "create the run directory", Err: err}
	}
	return r, nil
}

func (o *Options) setDefaults() {
	if o.TimeoutScale == 0 {
		o.TimeoutScale = 1
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Started == nil {
		o.Started = func(Info) {}
	}
	if o.Observer == nil {
		o.Observer = func(Entry) {}
	}
	if o.Watch == nil {
		o.Watch = unwatched{}
	}
}

// create writes the files that must be on disk before anything runs.
func (r *runner) create(dir string, items []Item) error {
	r.info = Info{
		Format: Format, Version: r.Version, DUT: r.DUT, Start: time.Now().UTC().Truncate(time.Microsecond),
		Argv:         r.Argv,
		TimeoutScale: r.TimeoutScale, Timeout: r.Timeout, Policy: r.Policy, KernelLogRules: r.KernelLogRules,
		Config: r.Config,
		Notes:  r.Notes, Environment: r.Environment, Plan: plan(items), Dir: dir,
	}
	if err := r.info.identify(); err != nil {
		return err
	}
	if err := writeInfo(r.info); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, journalFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	r.journal = &journal{f: f, observe: r.observe, failed: r.journalFailed}
	if r.OpenUndo != nil {
		r.undo, err = r.OpenUndo(filepath.Join(dir, UndoFile))
	}
	if err = errors.Join(err, atomicfile.SyncDir(dir)); err != nil {
		f.Close()
	}
	return err
}

func (r *runner) observe(e Entry) {
	r.summary.Add(e)
	if e.Event == End && e.Phase == PhaseCase {
		s := r.cases[e.ID]
		s.ended(e)
		r.cases[e.ID] = s
	}
	r.Observer(e)
}

// journalFailed stops the run in order: a run without a record is useless.
func (r *runner) journalFailed(err error) {
	r.journalErr = err
	r.stop(errors.New("the journal cannot be written: " + err.Error()))
}

func (r *runner) scaled(d time.Duration) time.Duration { return scaled(d, r.TimeoutScale) }

// run runs the plan, or the rest of it after a resume.
func (r *runner) run(ctx context.Context) {
	start := time.Now()
	if r.info.Timeout > 0 {
		var cancel context.CancelFunc
		late := fmt.Errorf("the run missed its deadline of %s", prose.Exact(r.info.Timeout))
		ctx, cancel = context.WithTimeoutCause(ctx, r.info.Timeout, late)
		defer cancel()
	}
	r.summary.Dir, r.summary.Total = r.info.Dir, len(r.info.Plan)
	r.Watch.Enter(r.info.Dir)
	r.Started(r.info)
	if r.past == nil {
		r.journal.append(Entry{Event: Begin, Phase: PhaseRun, Timeout: r.info.Timeout, BootID: r.info.BootID})
	} else {
		r.resume(ctx)
	}

	for rest := r.info.Plan; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].group == rest[0].group {
			n++
		}
		r.runGroup(ctx, rest[:n])
		rest = rest[n:]
	}
	r.end(ctx, start)
	if r.kept != nil {
		r.keep(ctx)
	}
}

// keep calls Options.Keep for the fixture of the failed case, then tears the fixture down.
func (r *runner) keep(ctx context.Context) {
	r.Keep(r.summary, r.kept.id)
	start := time.Now()
	r.journal.append(Entry{Event: Begin, Phase: PhaseRun, BootID: r.info.BootID})
	r.kept.takeDown(ctx)
	r.end(ctx, start)
}

// end writes the last entry, with the exit code of the run.
func (r *runner) end(ctx context.Context, start time.Time) {
	e := Entry{Event: End, Phase: PhaseRun, Duration: time.Since(start)}
	if cause := stopped(ctx); cause != nil {
		e.Result, e.Reason = Error, cause.Error()
		switch {
		case errors.Is(cause, errInterrupted):
			e.Result = Incomplete
		case errors.As(cause, new(*failuresError)):
			e.Result = Fail
		}
	}
	s := r.summary
	s.Add(e)
	code := s.ExitCode()
	e.ExitCode = &code
	r.journal.append(e)
}

// A failuresError is the reason of a run that ended because of failed flows.
type failuresError struct{ error }

// stopped returns why nothing more may begin; nil if more may.
func stopped(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return errInterrupted
}
