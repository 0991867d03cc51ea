package work

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/undo"
)

const (
	shell      = "/bin/sh"
	dirPrefix  = "vmtb-work-"
	markVar    = "VMTB_WORK="
	cleanTime  = 30 * time.Second // for putting things back when ctx has ended
	defaultDir = "/"
)

// Options of [Start]; the zero value will do for a guest.
type Options struct {
	// Base is where the private directory goes; by default /var/tmp, or /tmp if there is none.
	Base string
	// Journal records what a run leaves on the host until it has been killed and removed; nil for guests, which go away.
	Journal undo.Journal
}

// Start puts a workload's files on the machine and starts it. A program that is not there is an error.
func Start(ctx context.Context, m bench.Machine, w Workload, o Options) (*Run, error) {
	h := Handle{}
	if err := h.describe(w); err != nil {
		return nil, err
	}
	base, err := o.base(ctx, m)
	if err != nil {
		return nil, fault(m, w, err)
	}
	h.Dir = path.Join(base, dirPrefix+rand.Text())
	j, err := w.job(h.Dir)
	if err != nil {
		return nil, err
	}
	begin := func() error { return h.start(ctx, m, j) }
	if o.Journal == nil {
		err = begin()
	} else {
		err = o.Journal.Do(ctx, Leftover{Dir: h.Dir, Results: j.results}, begin)
	}
	if err != nil {
		return nil, fault(m, w, err)
	}
	return &Run{m, h}, nil
}

func (o Options) base(ctx context.Context, m bench.Machine) (string, error) {
	if o.Base != "" {
		return o.Base, nil
	}
	r, err := script(ctx, m, nil, "find a directory", baseScript)
	return strings.TrimSpace(string(r.Stdout)), err
}

// start fills in h what is known after the start. After a failure nothing is left.
func (h *Handle) start(ctx context.Context, m bench.Machine, j job) error {
	err := h.tryStart(ctx, m, j)
	if err == nil {
		return nil
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	return errors.Join(err, Leftover{Dir: h.Dir, Results: j.results}.clean(clean, m))
}

func (h *Handle) tryStart(ctx context.Context, m bench.Machine, j job) error {
	if _, err := script(ctx, m, nil, "make "+h.Dir, prepareScript, append([]string{h.Dir}, j.parents...)...); err != nil {
		return err
	}
	if j.command.Stdin != nil {
		if err := m.WriteFile(ctx, path.Join(h.Dir, "stdin"), j.command.Stdin); err != nil {
			return err
		}
	}
	for name, data := range j.files {
		if err := m.WriteFile(ctx, path.Join(h.Dir, name), data); err != nil {
			return err
		}
	}
	wd := j.command.Dir
	if wd == "" {
		wd = defaultDir
	}
	env := append(slices.Clone(j.command.Env), h.mark())
	args := append([]string{superviseScript, shell, h.Dir, wd}, j.command.Argv...)
	r, err := script(ctx, m, env, "start "+j.command.String(), launchScript, args...)
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(string(r.Stdout), &h.PID, &h.Start, &h.Session, &h.Boot); err != nil {
		return fmt.Errorf("it did not say who it is: %q %q: %w", r.Stdout, bench.Tail(r.Stderr, 3), err)
	}
	return nil
}

// script runs one of this package's scripts to its good end.
func script(ctx context.Context, m bench.Machine, env []string, what, text string, args ...string) (bench.Result, error) {
	c := bench.Command{Argv: append([]string{shell, "-c", text, "sh"}, args...), Env: env}
	r, err := m.Exec(ctx, c)
	if err == nil && !r.OK() {
		err = r.Err(bench.Command{Argv: strings.Fields(what)})
	}
	return r, err
}

// fault blames the machine for an error of ours; those that the machine's own package has judged stay.
func fault(m bench.Machine, w Workload, err error) error {
	var guest *bench.GuestError
	var host *bench.HostError
	var infra *bench.InfraError
	var usage *bench.UsageError
	if errors.As(err, &guest) || errors.As(err, &host) || errors.As(err, &infra) || errors.As(err, &usage) {
		return fmt.Errorf("%v: %v: %w", m, w, err)
	}
	return &bench.GuestError{Machine: m.String(), Op: w.String(), Err: err}
}
