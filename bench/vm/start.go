package vm

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/bench/qmp"
	"vmtb/bench/undo"
	"vmtb/bench/vm/guard"
	"vmtb/internal/prose"
)

func (m *VM) started(ctx context.Context) (*VM, error) {
	if err := m.start(ctx); err != nil {
		_ = m.Close(ctx) // its error would repeat that QEMU does not end
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
	if err := m.user.find(ctx); err != nil {
		return err
	}
	if m.spec.State != "" {
		return m.goOn(ctx)
	}
	if m.opts.Mode != ModeRun {
		return nil
	}
	return m.life.explain("let the guest run", m.qmp.Execute(ctx, "cont", nil, nil))
}

func (m *VM) chooseAccel(ctx context.Context) (err error) {
	if m.accel.Name = m.spec.Accel; m.accel.Name == "" {
		if m.accel, err = ProbeAccel(ctx, m.spec.QEMU); err != nil {
			return err
		}
	} else if _, err := lookQEMU(m.spec.QEMU); err != nil {
		return err
	}
	m.life.scale = m.opts.Scale
	if strings.HasPrefix(m.accel.Name, "tcg") {
		m.life.scale *= tcgFactor
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
	sockets, err := m.undo.private(base, "")
	if err != nil {
		return err
	}
	m.sockets = socketDir(sockets)
	if m.logs.dir, err = filepath.Abs(cmp.Or(m.opts.Dir, sockets)); err == nil {
		err = os.MkdirAll(m.logs.dir, 0o755)
	}
	if err != nil {
		return infra("make the machine's folder", err)
	}
	m.user = &UserAccess{life: m.life, spec: &m.spec, logs: m.logs, sockets: m.sockets}
	if err := m.user.prepare(m.opts.Mode); err != nil {
		return err
	}
	if m.disks.files == nil { // otherwise [VM.Again] has set them
		if err := m.disks.makeOverlays(ctx, m.opts.WorkDir); err != nil {
			return err
		}
	}
	firmware, err := m.firmware()
	if err != nil {
		return err
	}
	m.argv = m.spec.Args(Layout{
		Firmware: firmware, Accel: m.accel.Name, Sockets: sockets, Console: m.sockets.consolePipe(),
		Overlays: m.disks.files,
		Incoming: m.opts.Mode == ModeIncoming || m.spec.State != "",
		NoVFs:    m.spec.Unplugged || m.spec.State != "",
	})
	line := bench.Command{Argv: m.argv}.String() + "\n"
	return infra("write the command line", os.WriteFile(m.logs.path("argv"), []byte(line), 0o644))
}

// launch runs QEMU and connects to it. The guest stays stopped.
func (m *VM) launch(ctx context.Context) error {
	stderr, err := m.logs.open("stderr.log")
	if err != nil {
		return err
	}
	if err := m.logs.openConsole(m.sockets); err != nil {
		return err
	}
	m.proc, err = guard.Start(ctx, m.opts.GuardArgv, m.undo.dirs, m.argv, stderr)
	if err != nil {
		return infra(fmt.Sprintf("%s: start QEMU", m), err)
	}
	m.undo.add(m.proc.Close)
	m.diagnosis = &diagnosis{
		life: m.life, spec: &m.spec, accel: m.accel.Name, events: m.events, logs: m.logs, exit: m.proc.Exit,
	}
	if r, err := undo.ProcessOf(m.proc.PID()); err == nil { // an error means that QEMU has ended
		if err := m.opts.Journal(r); err != nil {
			return infra("journal QEMU's start", err)
		}
	}
	if err := m.connectQMP(ctx, m.Socket(qmpSocket)); err != nil {
		return err
	}
	go m.logs.console.follow()
	transcript, err := m.logs.transcript("qga.jsonl")
	if err != nil {
		return err
	}
	line, err := dialAgent(ctx, m.Socket(agentSocket))
	if err != nil {
		return m.life.explain("connect to the agent's port", err)
	}
	agent := qga.New(line, qga.Options{Transcript: transcript, Scale: m.life.scale})
	m.undo.add(func(context.Context) error { return agent.Close() })
	context.AfterFunc(m.life.ctx, func() { agent.Close() }) // nobody answers any more: calls end at once
	m.assemble(line, agent)
	return nil
}

// assemble makes the parts of a machine whose QEMU and agent's port are connected.
func (m *VM) assemble(line *agentLine, agent *qga.Client) {
	size := m.spec.stateMiB()
	m.states = &states{
		life: m.life, qmp: m.qmp, proc: m.proc, events: m.events, diagnosis: m.diagnosis, sizeMiB: size,
		moving: make(chan struct{}, 1),
	}
	m.mover = &mover{life: m.life, qmp: m.qmp, states: m.states, sizeMiB: size}
	for _, v := range m.spec.VFs {
		m.mover.vfsMiB = append(m.mover.vfsMiB, v.StateMiB)
	}
	m.evidence = &Evidence{
		life: m.life, qmp: m.qmp, states: m.states, logs: m.logs, pid: m.proc.PID(), memoryMiB: m.spec.MemoryMiB,
	}
	m.guest = &Guest{
		life: m.life, events: m.events, states: m.states, logs: m.logs, evidence: m.evidence,
		diagnosis: m.diagnosis, qga: agent, line: line,
	}
	m.power = &Power{
		life: m.life, qmp: m.qmp, qga: agent, proc: m.proc, events: m.events, states: m.states,
		diagnosis: m.diagnosis, guest: m.guest, evidence: m.evidence, shutdown: m.opts.Shutdown,
		sleep: sleepCheck{life: m.life, qmp: m.qmp, qga: agent, machine: m.spec.Machine},
	}
	m.snapshots = &Snapshots{
		life: m.life, qmp: m.qmp, states: m.states, disks: m.disks, mover: m.mover, guest: m.guest, logs: m.logs,
	}
	m.stateFiles = &StateFiles{qmp: m.qmp, states: m.states, mover: m.mover}
	m.user.qmp = m.qmp
}

// connectQMP connects to the monitor. Its error says why QEMU ended before it had a monitor.
func (m *VM) connectQMP(ctx context.Context, path string) error {
	transcript, err := m.logs.transcript("qmp.jsonl")
	if err != nil {
		return err
	}
	// With a VF QEMU maps all of the guest's memory for the device before it sends the greeting.
	patience := 30 * time.Second
	if len(m.spec.VFs) > 0 {
		patience += time.Duration(m.spec.MemoryMiB) * 20 * time.Second / 1024
	}
	patience = m.life.scaled(patience)
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
		m.qmp, err = qmp.New(ctx, conn, qmp.Options{
			Transcript: transcript, GreetingTimeout: patience, Scale: m.life.scale,
		})
	}
	if err != nil {
		ended := time.Duration(0)
		if ctx.Err() == nil { // QEMU broke the connection, so QEMU ends
			ended = 5 * time.Second
		}
		if m.proc.Gone(ended) {
			return m.diagnosis.ofStart()
		}
		return &bench.InfraError{Op: fmt.Sprintf("%s: connect to QEMU", m), Err: err, Evidence: m.logs.tails()}
	}
	m.undo.add(func(context.Context) error { return m.qmp.Close() })
	go m.watch(context.WithoutCancel(ctx), m.qmp.Subscribe(nil))
	return nil
}

// dial connects to a socket. It tries until the process that makes the socket has made it.
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
