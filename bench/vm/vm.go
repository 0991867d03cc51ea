package vm

import (
	"context"
	"fmt"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/bench/qmp"
	"vmtb/bench/vm/guard"
)

// A VM is one run of a machine, from [Start] until its QEMU has ended. It is a [bench.Machine]
// after [VM.WaitReady] has returned. What it can do is in its parts: [Guest], [Power], [Snapshots],
// [StateFiles], [Evidence], [UserAccess].
type VM struct {
	spec    Spec
	opts    Options
	accel   Accel
	argv    []string
	warm    bool // see [VM.Warm]
	sockets socketDir

	// What the parts share.
	life      *life
	events    *guestEvents
	undo      *reverter
	logs      *logs
	disks     *disks
	proc      *guard.Process
	diagnosis *diagnosis
	qmp       *qmp.Client

	// The parts. They exist from QEMU's start on.
	states     *states
	mover      *mover
	evidence   *Evidence
	guest      *Guest
	power      *Power
	snapshots  *Snapshots
	stateFiles *StateFiles
	user       *UserAccess
}

var _ bench.Machine = (*VM)(nil)

// Start runs the machine that s describes. It returns when the guest has begun to run (but see
// [Mode]); [VM.WaitReady] returns when the guest can be used. Any number of machines may be started
// at once. After an error only the logs are left. Otherwise the caller must call [VM.Close],
// whatever happens to the machine.
func Start(ctx context.Context, s Spec, o Options) (*VM, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return newVM(s.withDefaults(), o.withDefaults()).started(ctx)
}

func newVM(s Spec, o Options) *VM {
	m := &VM{
		spec: s, opts: o, life: newLife(s.Name), undo: &reverter{journal: o.Journal},
		events: &guestEvents{stopped: true, changed: make(chan struct{})},
	}
	m.logs = &logs{undo: m.undo}
	m.disks = &disks{spec: &m.spec, undo: m.undo}
	return m
}

// Close ends the machine, by force if it still runs, and removes its sockets and overlays. The logs
// stay. A second call repeats the steps that failed. Close has a minute even when ctx has ended,
// because it is a clean-up.
func (m *VM) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	m.events.expectEnd()
	err := m.undo.run(ctx)
	m.life.end(fmt.Errorf("%s: %w", m, ErrOff))
	return err
}

// Socket returns the path of one of the machine's sockets: [PeopleSocket], or "serial1" and on
// ([Spec.Serials]).
func (m *VM) Socket(name string) string { return m.sockets.path(name) }

// infra returns err as a [bench.InfraError], and nil for nil.
func infra(op string, err error) error {
	if err == nil {
		return nil
	}
	return &bench.InfraError{Op: op, Err: err}
}

// String returns the machine's name.
func (m *VM) String() string { return m.life.name }

// Guest returns the system in the machine, reached through its agent.
func (m *VM) Guest() *Guest { return m.guest }

// Power returns the machine's switches and buttons.
func (m *VM) Power() *Power { return m.power }

// Snapshots returns the snapshots in the machine's disks.
func (m *VM) Snapshots() *Snapshots { return m.snapshots }

// StateFiles returns what saves the machine's state to files, and loads it.
func (m *VM) StateFiles() *StateFiles { return m.stateFiles }

// Evidence returns what collects evidence of the machine.
func (m *VM) Evidence() *Evidence { return m.evidence }

// UserAccess returns how people get at the machine.
func (m *VM) UserAccess() *UserAccess { return m.user }

// State asks QEMU for the machine's state.
func (m *VM) State(ctx context.Context) (State, error) { return m.states.now(ctx) }

// The methods of a [bench.Machine] are the guest's.

// Exec implements [bench.Machine].
func (m *VM) Exec(ctx context.Context, c bench.Command) (bench.Result, error) {
	return m.guest.Exec(ctx, c)
}

// Start implements [bench.Machine].
func (m *VM) Start(ctx context.Context, c bench.Command) (bench.Process, error) {
	return m.guest.Start(ctx, c)
}

// ReadFile implements [bench.Machine].
func (m *VM) ReadFile(ctx context.Context, name string) ([]byte, error) {
	return m.guest.ReadFile(ctx, name)
}

// WriteFile implements [bench.Machine].
func (m *VM) WriteFile(ctx context.Context, name string, data []byte) error {
	return m.guest.WriteFile(ctx, name, data)
}

// ReadDir implements [bench.Machine].
func (m *VM) ReadDir(ctx context.Context, dir string) ([]bench.DirEntry, error) {
	return m.guest.ReadDir(ctx, dir)
}

// Spec returns the description that the machine was started with.
func (m *VM) Spec() Spec { return m.spec }

// Exit is how a QEMU process ended.
type Exit = guard.Exit

// Done returns a channel that is closed when QEMU is gone: its process has been reaped, its VFs are
// free.
func (m *VM) Done() <-chan struct{} { return m.proc.Done() }

// Wait waits until QEMU has ended, and returns how.
func (m *VM) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-m.proc.Done():
		return m.proc.Exit(), nil
	case <-ctx.Done():
		return Exit{}, context.Cause(ctx)
	}
}

// QMP returns the connection to QEMU's monitor.
func (m *VM) QMP() *qmp.Client { return m.qmp }

// Agent returns the connection to the guest's agent.
func (m *VM) Agent() *qga.Client { return m.guest.qga }

// Accel returns how the machine runs.
func (m *VM) Accel() Accel { return m.accel }

// Args returns the command line that QEMU was started with.
func (m *VM) Args() []string { return m.argv }

// Dir returns the folder of the machine's logs.
func (m *VM) Dir() string { return m.logs.dir }

// AgentOpen reports whether the guest's agent has its port open.
func (m *VM) AgentOpen() bool {
	open, _ := m.events.agentSeen()
	return open
}

// PID returns the id of QEMU's process.
func (m *VM) PID() int { return m.proc.PID() }
