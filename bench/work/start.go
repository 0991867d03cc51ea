package work

import (
	"cmp"
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
	cleanTime  = 30 * time.Second // for cleaning up after ctx has ended
	defaultDir = "/"
)

// Options configures [Start]. The zero value is right for a guest.
type Options struct {
	// Base is the parent of the private directory. The default is /var/tmp, or /tmp if that does
	// not exist.
	Base string
	// Journal records a run's processes and files on the host until they are removed. It is nil for
	// guests, which are temporary.
	Journal undo.Journal
}

// Start copies a workload's files to the machine and starts it. A missing program is an error.
func Start(ctx context.Context, m bench.Machine, w Workload, o Options) (*Run, error) {
	p, err := prepare(ctx, m, w, o, false)
	if err != nil {
		return nil, err
	}
	return &Run{p.m, p.h}, nil
}

// A Prepared workload has done its slow preparations and waits at a gate on its machine. Use it to
// start several workloads at the same time; otherwise use [Start].
type Prepared struct {
	m bench.Machine
	h Handle
	j job
}

// Prepare prepares a workload up to its gate. The machine needs mkfifo(1). After an error nothing
// is left on the machine.
func Prepare(ctx context.Context, m bench.Machine, w Workload, o Options) (*Prepared, error) {
	return prepare(ctx, m, w, o, true)
}

func prepare(ctx context.Context, m bench.Machine, w Workload, o Options, gate bool) (*Prepared, error) {
	p := &Prepared{m: m}
	if err := p.h.describe(w); err != nil {
		return nil, err
	}
	base, err := o.base(ctx, m)
	if err != nil {
		return nil, fault(m, w, err)
	}
	p.h.Dir = path.Join(base, dirPrefix+rand.Text())
	if p.j, err = w.job(p.h.Dir); err != nil {
		return nil, err
	}
	begin := func() error { return p.orClean(ctx, p.begin(ctx, gate)) }
	if o.Journal == nil {
		err = begin()
	} else {
		err = o.Journal.Do(ctx, p.leftover(), begin)
	}
	if err != nil {
		return nil, fault(m, w, err)
	}
	return p, nil
}

// Start opens the gate. Call it once. After an error nothing is left on the machine.
func (p *Prepared) Start(ctx context.Context) (*Run, error) {
	_, err := script(ctx, p.m, nil, "start "+p.j.command.String(), openGateScript, p.h.Dir)
	if err := p.orClean(ctx, err); err != nil {
		return nil, fault(p.m, p.h.workload(), err)
	}
	return &Run{p.m, p.h}, nil
}

// Remove removes a workload that will not be started.
func (p *Prepared) Remove(ctx context.Context) error { return (&Run{p.m, p.h}).Remove(ctx) }

func (p *Prepared) leftover() Leftover { return Leftover{Dir: p.h.Dir, Results: p.j.results} }

func (o Options) base(ctx context.Context, m bench.Machine) (string, error) {
	if o.Base != "" {
		return o.Base, nil
	}
	r, err := script(ctx, m, nil, "find a directory", baseScript)
	return strings.TrimSpace(string(r.Stdout)), err
}

// orClean cleans up if there was an error.
func (p *Prepared) orClean(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	return errors.Join(err, p.leftover().clean(clean, p.m))
}

func (p *Prepared) begin(ctx context.Context, gate bool) error {
	if err := p.put(ctx); err != nil {
		return err
	}
	if gate {
		if _, err := script(ctx, p.m, nil, "make a FIFO in "+p.h.Dir, makeGateScript, p.h.Dir); err != nil {
			return err
		}
	}
	return p.launch(ctx)
}

func (p *Prepared) put(ctx context.Context) error {
	dirs := append([]string{p.h.Dir}, p.j.parents...)
	if _, err := script(ctx, p.m, nil, "make "+p.h.Dir, prepareScript, dirs...); err != nil {
		return err
	}
	if p.j.command.Stdin != nil {
		if err := p.m.WriteFile(ctx, path.Join(p.h.Dir, "stdin"), p.j.command.Stdin); err != nil {
			return err
		}
	}
	for name, data := range p.j.files {
		if err := p.m.WriteFile(ctx, path.Join(p.h.Dir, name), data); err != nil {
			return err
		}
	}
	return nil
}

// launch starts the workload and fills in the handle.
func (p *Prepared) launch(ctx context.Context) error {
	c := p.j.command
	env := append(slices.Clone(c.Env), p.h.mark())
	args := append([]string{superviseScript, shell, p.h.Dir, cmp.Or(c.Dir, defaultDir)}, c.Argv...)
	r, err := script(ctx, p.m, env, "start "+c.String(), launchScript, args...)
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(string(r.Stdout), &p.h.PID, &p.h.Start, &p.h.Session, &p.h.Boot); err != nil {
		return fmt.Errorf("the workload did not report its process: %q %q: %w", r.Stdout, bench.Tail(r.Stderr, 3), err)
	}
	return nil
}

// script runs one of this package's scripts, which must succeed.
func script(
	ctx context.Context, m bench.Machine, env []string, what, text string, args ...string,
) (bench.Result, error) {
	c := bench.Command{Argv: append([]string{shell, "-c", text, "sh"}, args...), Env: env}
	r, err := m.Exec(ctx, c)
	if err == nil && !r.OK() {
		err = r.Err(bench.Command{Argv: strings.Fields(what)})
	}
	return r, err
}

// fault attributes an error to the machine, unless the machine's own package has classified it
// already.
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
