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

// A Step is a way to end a machine. The first steps are polite.
type Step string

// The steps of [Power.Off].
const (
	StepNone  Step = ""      // it had ended before
	StepAgent Step = "agent" // the guest's agent ran its shutdown
	StepACPI  Step = "acpi"  // the guest obeyed the power button
	StepQuit  Step = "quit"  // QEMU quit; the guest was cut off
	StepKill  Step = "kill"  // QEMU was killed
)

// Power has the switches and buttons of a machine: what starts, stops and ends its guest.
type Power struct {
	life      *life
	qmp       *qmp.Client
	qga       *qga.Client
	proc      *guard.Process
	events    *guestEvents
	states    *states
	diagnosis *diagnosis
	guest     *Guest
	evidence  *Evidence
	sleep     sleepCheck
	shutdown  time.Duration // see [Options]
}

const (
	stateTime = 5 * time.Second
	quitTime  = 15 * time.Second
	killTime  = time.Minute // QEMU has to unmap the guest's memory from its VFs
)

// Off ends the machine. It asks the agent, then presses the power button, then tells QEMU to quit,
// then kills QEMU, as far as needed. Each step has a limit: [Options.Shutdown], half of it, 15 s, 1
// minute, all scaled but the last. Off leaves out steps that cannot work: it does not ask a guest
// that is paused or has panicked. It returns the step that worked, when QEMU has been reaped and
// its VFs are free. When ctx ends, the polite steps end. An error means that the machine is not
// off, or that QEMU crashed. If a running guest does not shut down, Off collects evidence before it
// goes on ([Evidence.Collect]).
func (p *Power) Off(ctx context.Context) (Step, error) {
	return p.OffAndTell(ctx, func(string, error) {})
}

// OffAndTell does what [Power.Off] does. It calls tell before each step, and again with an error if
// the step cannot work.
func (p *Power) OffAndTell(ctx context.Context, tell func(what string, refusal error)) (Step, error) {
	if p.proc.Gone(0) {
		return StepNone, nil
	}
	p.events.expectEnd()
	steps := []struct {
		step  Step
		asks  bool // needs a guest that runs
		limit time.Duration
		do    func(context.Context) error
		what  string
	}{
		{StepAgent, true, p.life.scaled(p.shutdown), p.askAgent, "asking the guest's agent"},
		{StepACPI, true, p.life.scaled(p.shutdown) / 2, p.pressButton, "pressing the power button"},
		{
			StepQuit, false, p.life.scaled(quitTime),
			func(ctx context.Context) error { return p.qmp.Execute(ctx, "quit", nil, nil) }, "asking QEMU to quit",
		},
		{StepKill, false, killTime, func(context.Context) error { p.proc.Kill(); return nil }, "killing QEMU"},
	}
	for _, s := range steps {
		tell(fmt.Sprintf("%s, for up to %s", s.what, prose.Exact(s.limit)), nil)
		parent, life := ctx, p.life.ctx.Done()
		if !s.asks {
			parent, life = context.WithoutCancel(ctx), nil
		}
		if s.step == StepQuit {
			p.evidence.beforeForce(ctx)
		}
		ended, refusal := p.step(parent, s.limit, life, s.do)
		if ended {
			return s.step, p.endedBy(s.step)
		}
		if refusal != nil {
			tell(s.what, refusal)
		}
	}
	return StepKill, p.proc.Stuck(context.DeadlineExceeded)
}

// Quit ends the machine as a power cut does, but QEMU closes its files. It returns when QEMU has
// been reaped.
func (p *Power) Quit(ctx context.Context) error {
	return p.states.transit(ctx, quit, func(ctx context.Context) error {
		p.events.expectEnd()
		if err := p.qmp.Execute(ctx, "quit", nil, nil); err != nil && !errors.Is(err, qmp.ErrClosed) {
			return err
		}
		return nil
	}, p.states.proveOff)
}

// Kill ends the machine without asking anybody, and returns when QEMU has been reaped.
func (p *Power) Kill(ctx context.Context) error {
	p.events.expectEnd()
	p.proc.Kill()
	select {
	case <-p.proc.Done():
		return nil
	case <-ctx.Done():
		return infra(fmt.Sprintf("%s: kill QEMU (pid %d)", p.life, p.proc.PID()), context.Cause(ctx))
	}
}

// step takes one step and reports whether QEMU has ended. It waits until limit or life ends. If the
// step was refused, it does not wait, and returns the refusal.
func (p *Power) step(
	ctx context.Context, limit time.Duration, life <-chan struct{}, do func(context.Context) error,
) (gone bool, refusal error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := do(ctx); err != nil && !errors.Is(err, qmp.ErrClosed) {
		return p.proc.Gone(0), err
	}
	select {
	case <-p.proc.Done():
	case <-ctx.Done():
	case <-life: // it ended, or has panicked
	}
	return p.proc.Gone(0), nil
}

func (p *Power) askAgent(ctx context.Context) error {
	if open, _ := p.events.agentSeen(); !open {
		return errNoAgent
	}
	if err := p.canReact(ctx); err != nil {
		return err
	}
	return p.qga.Shutdown(ctx, "powerdown")
}

func (p *Power) pressButton(ctx context.Context) error {
	if err := p.canReact(ctx); err != nil {
		return err
	}
	if _, opens := p.events.agentSeen(); opens == 0 && p.deafToButton(ctx) {
		return errDeaf
	}
	return p.qmp.Execute(ctx, "system_powerdown", nil, nil)
}

var errDeaf = errors.New(
	"no agent has answered yet, and the guest does not listen to the power button: it has not booted",
)

// deafToButton reports whether the power button certainly does nothing: the guest has not enabled
// its event in the register PM1_EN (bit 8; ACPI 6.5, 4.8.3.1.2). QEMU looks at the same bit
// (acpi_pm1_evt_power_down in hw/acpi/core.c).
func (p *Power) deafToButton(ctx context.Context) bool {
	// The port is where SeaBIOS and OVMF put it on q35. One that is not there reads as all ones.
	var reply string
	read := map[string]string{"command-line": "i /h 0x602"}
	if err := p.qmp.Execute(ctx, "human-monitor-command", read, &reply); err != nil {
		return false
	}
	_, value, ok := strings.Cut(strings.TrimSpace(reply), "= 0x")
	enabled, err := strconv.ParseUint(value, 16, 16)
	return ok && err == nil && enabled&(1<<8) == 0
}

// canReact returns nil if the guest's CPUs run.
func (p *Power) canReact(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.life.scaled(stateTime))
	defer cancel()
	return p.states.expect(ctx, powerOff.Name, Running)
}

// endedBy returns nil if QEMU ended as the step makes it end.
func (p *Power) endedBy(s Step) error {
	if p.proc.Exit() == (Exit{}) || s == StepKill {
		return nil
	}
	return p.diagnosis.ofEnd()
}
