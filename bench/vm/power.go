package vm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"vmtb/bench/qga"
	"vmtb/bench/qmp"
	"vmtb/bench/vm/guard"
	"vmtb/internal/prose"
)

// A Step is a way to end a machine, from the politest on.
type Step string

// The steps of [VM.PowerOff].
const (
	StepNone  Step = ""      // it had ended before
	StepAgent Step = "agent" // the guest's agent ran its shutdown
	StepACPI  Step = "acpi"  // the guest obeyed the power button
	StepQuit  Step = "quit"  // QEMU quit; the guest was cut off
	StepKill  Step = "kill"  // QEMU was killed
)

const (
	stateTime = 5 * time.Second
	quitTime  = 15 * time.Second
	killTime  = time.Minute // QEMU has to unmap the guest's memory from its VFs
)

// PowerOff ends the machine: asks the agent, then presses the power button, tells QEMU to quit, kills it, each for a
// bounded time ([Options.Shutdown], half of it, 15 s, 1 minute, all scaled but the last) and only as far as needed. Steps
// that cannot work are left out: a guest that is paused or has panicked is not asked. It returns when QEMU has been
// reaped, so that its VFs are free, and says which step did it. When ctx ends, the polite steps are cut short. The
// error is for a machine that is not off, or whose QEMU crashed on the way. A guest that runs and did not heed leaves
// evidence before it is cut off ([VM.CollectEvidence]).
func (m *VM) PowerOff(ctx context.Context) (Step, error) {
	return m.PowerOffAndTell(ctx, func(string, error) {})
}

// PowerOffAndTell is [VM.PowerOff], and calls tell with what it does, and again with an error if that cannot work.
func (m *VM) PowerOffAndTell(ctx context.Context, tell func(what string, refusal error)) (Step, error) {
	if m.proc.Gone(0) {
		return StepNone, nil
	}
	m.guest.expectEnd()
	steps := []struct {
		step  Step
		asks  bool // needs a guest that runs
		limit time.Duration
		do    func(context.Context) error
		what  string
	}{
		{StepAgent, true, m.scaled(m.opts.Shutdown), m.askAgent, "asking the guest's agent"},
		{StepACPI, true, m.scaled(m.opts.Shutdown) / 2, m.pressButton, "pressing the power button"},
		{StepQuit, false, m.scaled(quitTime), func(ctx context.Context) error { return m.qmp.Execute(ctx, "quit", nil, nil) }, "telling QEMU to quit"},
		{StepKill, false, killTime, func(context.Context) error { m.proc.Kill(); return nil }, "killing QEMU"},
	}
	for _, s := range steps {
		tell(fmt.Sprintf("%s, for up to %s", s.what, prose.Exact(s.limit)), nil)
		parent, life := ctx, m.life.Done()
		if !s.asks {
			parent, life = context.WithoutCancel(ctx), nil
		}
		if s.step == StepQuit {
			m.beforeForce(ctx)
		}
		ended, refusal := m.step(parent, s.limit, life, s.do)
		if ended {
			return s.step, m.endedBy(s.step)
		}
		if refusal != nil {
			tell(s.what, refusal)
		}
	}
	return StepKill, m.proc.Stuck(context.DeadlineExceeded)
}

// Quit ends the machine as if its plug were pulled, but lets QEMU close its files. It returns when QEMU has been reaped.
func (m *VM) Quit(ctx context.Context) error {
	return m.transit(ctx, quit, func(ctx context.Context) error {
		m.guest.expectEnd()
		if err := m.qmp.Execute(ctx, "quit", nil, nil); err != nil && !errors.Is(err, qmp.ErrClosed) {
			return err
		}
		return nil
	}, m.proveOff)
}

// Kill ends the machine without asking anybody, and returns when QEMU has been reaped.
func (m *VM) Kill(ctx context.Context) error {
	m.guest.expectEnd()
	m.proc.Kill()
	select {
	case <-m.proc.Done():
		return nil
	case <-ctx.Done():
		return infra(fmt.Sprintf("%s: kill QEMU (pid %d)", m, m.proc.PID()), context.Cause(ctx))
	}
}

// step takes one step and reports whether QEMU is gone. It waits for that as long as limit and life let it, and not at
// all when the step was refused, and why.
func (m *VM) step(ctx context.Context, limit time.Duration, life <-chan struct{}, do func(context.Context) error) (gone bool, refusal error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := do(ctx); err != nil && !errors.Is(err, qmp.ErrClosed) {
		return m.proc.Gone(0), err
	}
	select {
	case <-m.proc.Done():
	case <-ctx.Done():
	case <-life: // it ended, or has panicked
	}
	return m.proc.Gone(0), nil
}

func (m *VM) askAgent(ctx context.Context) error {
	if open, _ := m.guest.agentSeen(); !open {
		return errNoAgent
	}
	if err := m.canReact(ctx); err != nil {
		return err
	}
	return m.qga.Shutdown(ctx, "powerdown")
}

func (m *VM) pressButton(ctx context.Context) error {
	if err := m.canReact(ctx); err != nil {
		return err
	}
	if _, opens := m.guest.agentSeen(); opens == 0 && m.deafToButton(ctx) {
		return errDeaf
	}
	return m.qmp.Execute(ctx, "system_powerdown", nil, nil)
}

var errDeaf = errors.New("no agent has ever answered, and no system in the guest listens to the power button: it has not booted")

// deafToButton reports whether it is certain that pressing the power button does nothing: the guest has not enabled its event in
// the register PM1_EN (bit 8; ACPI 6.5, 4.8.3.1.2). QEMU looks at the same bit (acpi_pm1_evt_power_down in hw/acpi/core.c).
func (m *VM) deafToButton(ctx context.Context) bool {
	// The port is where SeaBIOS and OVMF put it on q35. One that is not there reads as all ones.
	var reply string
	read := map[string]string{"command-line": "i /h 0x602"}
	if err := m.qmp.Execute(ctx, "human-monitor-command", read, &reply); err != nil {
		return false
	}
	_, value, ok := strings.Cut(strings.TrimSpace(reply), "= 0x")
	enabled, err := strconv.ParseUint(value, 16, 16)
	return ok && err == nil && enabled&(1<<8) == 0
}

// canReact is nil if the guest's CPUs run.
func (m *VM) canReact(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.scaled(stateTime))
	defer cancel()
	return m.expect(ctx, powerOff.Name, Running)
}

// endedBy is nil if QEMU ended as the step lets it.
func (m *VM) endedBy(s Step) error {
	if m.proc.Exit() == (Exit{}) || s == StepKill {
		return nil
	}
	return m.endError()
}

// Exit is how a QEMU process ended.
type Exit = guard.Exit

// Done is closed when QEMU is gone: its process has been reaped, its VFs are free.
func (m *VM) Done() <-chan struct{} { return m.proc.Done() }

// Wait returns how QEMU ended, when it has.
func (m *VM) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-m.proc.Done():
		return m.proc.Exit(), nil
	case <-ctx.Done():
		return Exit{}, context.Cause(ctx)
	}
}

// QMP is the connection to QEMU's monitor.
func (m *VM) QMP() *qmp.Client { return m.qmp }

// Agent is the connection to the guest's agent.
func (m *VM) Agent() *qga.Client { return m.qga }

// Accel is how the machine runs.
func (m *VM) Accel() Accel { return m.accel }

// Args is the command line that QEMU was started with.
func (m *VM) Args() []string { return m.argv }

// Dir is the folder of the machine's logs.
func (m *VM) Dir() string { return m.dir }

// AgentOpen reports whether the guest's agent has its port open.
func (m *VM) AgentOpen() bool {
	open, _ := m.guest.agentSeen()
	return open
}

// PID is QEMU's process.
func (m *VM) PID() int { return m.proc.PID() }
