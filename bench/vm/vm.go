package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/bench/qmp"
	"vmtb/bench/undo"
	"vmtb/bench/vm/guard"
	"vmtb/internal/prose"
)

// A VM is one run of a machine: from [Start] until its QEMU has ended. It is a [bench.Machine], usable as one once
// [VM.WaitReady] has returned.
type VM struct {
	spec  Spec
	opts  Options
	accel Accel
	scale float64 // of every deadline

	access  access
	alarmed atomic.Bool // evidence of a silent agent has been taken
	dir     string      // the folder of logs
	sockets string      // the private directory of the sockets
	console *consoleLog // nil before QEMU is started
	argv    []string
	proc    *guard.Process
	qmp     *qmp.Client
	qga     *qga.Client

	agentLine *agentLine // what qga talks over

	overlayFiles []string // for each disk its overlay, "" for one used as it is
	overlayDir   ownedDir // where they are

	guest  guest
	moving chan struct{} // holds a token while a transition goes on
	loaded bool          // a state was, and the guest has not run since; of transitions
	warm   bool          // see [VM.Warm]
	// life ends with the reason why nothing can be asked of the guest any more: QEMU has ended, the guest has panicked.
	life context.Context
	end  context.CancelCauseFunc

	undo reverter
}

var _ bench.Machine = (*VM)(nil)

// Start runs the machine that s describes and returns when its guest has been set going (but see [Mode]); see [VM.WaitReady] for
// when it can be used. Any number of machines may be started at once. After an error nothing is left but the logs; else
// [VM.Close] must be called, whatever happens to the machine.
func Start(ctx context.Context, s Spec, o Options) (*VM, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return newVM(s.withDefaults(), o.withDefaults()).started(ctx)
}

func newVM(s Spec, o Options) *VM {
	m := &VM{spec: s, opts: o, moving: make(chan struct{}, 1)}
	m.life, m.end = context.WithCancelCause(context.Background())
	m.guest.stopped, m.guest.changed = true, make(chan struct{})
	return m
}

func (m *VM) started(ctx context.Context) (*VM, error) {
	if err := m.start(ctx); err != nil {
		_ = m.Close(ctx) // its error would only say again that QEMU does not end
		return nil, err
	}
	return m, nil
}

func (m *VM) start(ctx context.Context) error {
	if err := m.chooseAccel(ctx); err != nil {
		return err
	}
	if err := m.prepare(ctx); err != nil {
		return err
	}
	if err := m.launch(ctx); err != nil {
		return err
	}
	m.opts.Roster.add(m)
	if err := m.findAccess(ctx); err != nil {
		return err
	}
	if m.spec.State != "" {
		return m.goOn(ctx)
	}
	if m.opts.Mode != ModeRun {
		return nil
	}
	return m.because("let the guest run", m.qmp.Execute(ctx, "cont", nil, nil))
}

func (m *VM) chooseAccel(ctx context.Context) (err error) {
	if m.accel.Name = m.spec.Accel; m.accel.Name == "" {
		if m.accel, err = ProbeAccel(ctx, m.spec.QEMU); err != nil {
			return err
		}
	} else if _, err := lookQEMU(m.spec.QEMU); err != nil {
		return err
	}
	m.scale = m.opts.Scale
	if strings.HasPrefix(m.accel.Name, "tcg") {
		m.scale *= tcgFactor
	}
	return nil
}

// prepare makes directories, overlays and the command line.
func (m *VM) prepare(ctx context.Context) error {
	if err := m.spec.checkFiles(); err != nil {
		return err
	}
	base, err := socketBase(m.opts.SocketDir)
	if err != nil {
		return err
	}
	if m.sockets, err = m.private(base, ""); err != nil {
		return err
	}
	if m.dir, err = filepath.Abs(cmp.Or(m.opts.Dir, m.sockets)); err == nil {
		err = os.MkdirAll(m.dir, 0o755)
	}
	if err != nil {
		return infra("make the machine's folder", err)
	}
	if err := m.prepareAccess(); err != nil {
		return err
	}
	if m.overlayFiles == nil { // else they are another run's
		if err := m.overlays(ctx); err != nil {
			return err
		}
	}
	firmware, err := m.firmware()
	if err != nil {
		return err
	}
	m.argv = m.spec.Args(Layout{
		Firmware: firmware, Accel: m.accel.Name, Sockets: m.sockets, Console: m.consolePipe(), Overlays: m.overlayFiles,
		Incoming: m.opts.Mode == ModeIncoming || m.spec.State != "",
		NoVFs:    m.spec.Unplugged || m.spec.State != "",
	})
	line := bench.Command{Argv: m.argv}.String() + "\n"
	return infra("write the command line", os.WriteFile(m.path("argv"), []byte(line), 0o644))
}

// private makes a private directory that goes with the machine.
func (m *VM) private(base, prefix string) (string, error) {
	dir, err := privateDir(base, prefix, m.opts.Journal)
	if err != nil {
		return "", infra("make a private directory", err)
	}
	m.own(dir, func() error { return os.RemoveAll(dir) })
	return dir, nil
}

// own sees to it that remove is called in the end, or should vmtb die before, that the guard removes dir.
func (m *VM) own(dir string, remove func() error) {
	m.undo.add(func(context.Context) error { return remove() })
	m.undo.dirs = append(m.undo.dirs, dir)
}

// launch runs QEMU and connects to it. The guest stays stopped.
func (m *VM) launch(ctx context.Context) error {
	stderr, err := m.log("stderr.log")
	if err != nil {
		return err
	}
	if err := m.openConsole(); err != nil {
		return err
	}
	m.proc, err = guard.Start(ctx, m.opts.GuardArgv, m.undo.dirs, m.argv, stderr)
	if err != nil {
		return infra(fmt.Sprintf("%s: start QEMU", m), err)
	}
	m.undo.add(m.proc.Close)
	if r, err := undo.ProcessOf(m.proc.PID()); err == nil { // else it has ended already
		if err := m.opts.Journal(r); err != nil {
			return infra("journal QEMU's start", err)
		}
	}
	if err := m.connectQMP(ctx, m.Socket(qmpSocket)); err != nil {
		return err
	}
	go m.console.follow()
	transcript, err := m.transcript("qga.jsonl")
	if err != nil {
		return err
	}
	if m.agentLine, err = dialAgent(ctx, m.Socket(agentSocket)); err != nil {
		return m.because("connect to the agent's port", err)
	}
	m.qga = qga.New(m.agentLine, qga.Options{Transcript: transcript, Scale: m.scale})
	m.undo.add(func(context.Context) error { return m.qga.Close() })
	context.AfterFunc(m.life, func() { m.qga.Close() }) // nobody answers any more: let calls end at once
	return nil
}

// connectQMP connects to the monitor, or says why QEMU did not come as far as to have one.
func (m *VM) connectQMP(ctx context.Context, path string) error {
	transcript, err := m.transcript("qmp.jsonl")
	if err != nil {
		return err
	}
	// With a VF QEMU maps all of the guest's memory for the device before it says a word.
	patience := 30 * time.Second
	if len(m.spec.VFs) > 0 {
		patience += time.Duration(m.spec.MemoryMiB) * 20 * time.Second / 1024
	}
	patience = m.scaled(patience)
	late := fmt.Errorf("no greeting from QEMU within %s", prose.Exact(patience))
	ctx, cancel := context.WithTimeoutCause(ctx, patience, late)
	defer cancel()
	go func() {
		select {
		case <-m.proc.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	conn, err := dial(ctx, path)
	if err == nil {
		m.qmp, err = qmp.New(ctx, conn, qmp.Options{Transcript: transcript, GreetingTimeout: patience, Scale: m.scale})
	}
	if err != nil {
		ended := time.Duration(0)
		if ctx.Err() == nil { // a connection that breaks is a QEMU that ends
			ended = 5 * time.Second
		}
		if m.proc.Gone(ended) {
			return m.startFailure(m.proc.Exit())
		}
		return &bench.InfraError{Op: fmt.Sprintf("%s: connect to QEMU", m), Err: err, Evidence: m.evidence()}
	}
	m.undo.add(func(context.Context) error { return m.qmp.Close() })
	go m.watch(context.WithoutCancel(ctx), m.qmp.Subscribe(nil))
	return nil
}

// dial connects to a socket that a starting process is about to make.
func dial(ctx context.Context, path string) (net.Conn, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Close ends the machine, by force if it still runs, and removes its sockets and overlays. The logs stay. It may be
// called again, and tries again what failed. As a clean-up it has a minute of its own, even when ctx has ended.
func (m *VM) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	m.guest.expectEnd()
	err := m.undo.run(ctx)
	m.end(fmt.Errorf("%s: %w", m, ErrOff))
	return err
}

// A reverter is what has to be done to take back what was done so far.
type reverter struct {
	mu    sync.Mutex
	steps []func(context.Context) error
	dirs  []string // the private directories, which the guard removes should vmtb die
}

func (r *reverter) add(step func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, step)
}

// run takes the steps, last one first, and forgets those that succeed: the next run tries the others again.
func (r *reverter) run(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	var failed []func(context.Context) error
	for _, step := range slices.Backward(r.steps) {
		if err := step(ctx); err != nil {
			errs, failed = append(errs, err), append(failed, step)
		}
	}
	slices.Reverse(failed)
	r.steps = failed
	return errors.Join(errs...)
}

// log opens one of the machine's logs for appending.
func (m *VM) log(name string) (*os.File, error) {
	f, err := os.OpenFile(m.path(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, infra("open a log", err)
	}
	m.undo.add(func(context.Context) error { return f.Close() })
	return f, nil
}

// Socket is the path of one of the machine's sockets: [PeopleSocket], or "serial1" and on ([Spec.Serials]).
func (m *VM) Socket(name string) string { return filepath.Join(m.sockets, name) }

func (m *VM) path(name string) string { return filepath.Join(m.dir, name) }

func (m *VM) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * m.scale) }

// infra makes err the bench's own trouble, unless there is none.
func infra(op string, err error) error {
	if err == nil {
		return nil
	}
	return &bench.InfraError{Op: op, Err: err}
}
