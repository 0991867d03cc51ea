package reporttest

import (
	"fmt"
	"time"

	"vmtb/flow"
)

// A Player shows a run during the run, such as a terminal.
type Player interface {
	Start(flow.Info)
	Entry(flow.Entry)
	Tick(time.Time)
}

// A Tape is a handmade run: entries and ticks at exact times.
type Tape struct {
	Info    flow.Info
	At      time.Time    // time of the next entry
	Entries []flow.Entry // the journal

	events []func(Player) // entries and ticks
	n      int
}

// Profile is the part of the Python tool's parameters after the number of VFs.
const Profile = "(P:VGPU_PROFILE S:DEFAULT_PROFILE)"

// Boot returns the id of test_vm_boot with a parameter.
func Boot(param string) flow.ID {
	return flow.ID{File: "test_basic", Class: "TestVmSetup", Case: "test_vm_boot", Param: param}
}

// NewTape returns a run that has begun, with cases as its plan.
func NewTape(ids ...flow.ID) *Tape {
	t := &Tape{At: time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)}
	t.Info = flow.Info{
		Format: flow.Format, Version: "0.1", Dir: "/tmp/run-1",
		DUT:   "vmtb-lab, Linux 7.3.4+deb13-amd64, vmtb lab (emulated), GPU ptl",
		Start: t.At, TimeoutScale: 1,
		Notes: []string{"[1VF] took 1: " + Boot("1VF-"+Profile).String()},
	}
	for _, id := range ids {
		t.Info.Plan = append(t.Info.Plan, flow.Item{ID: id, Name: id.String()})
	}
	t.Begin(flow.PhaseRun, flow.ID{})
	return t
}

// Entry adds an entry.
func (t *Tape) Entry(e flow.Entry) {
	t.n++
	e.Seq, e.Time = t.n, t.At
	t.Entries = append(t.Entries, e)
	t.events = append(t.events, func(p Player) { p.Entry(e) })
}

// Begin begins a phase.
func (t *Tape) Begin(p flow.Phase, id flow.ID) {
	t.Entry(flow.Entry{Event: flow.Begin, Phase: p, ID: id})
}

// End ends a phase after d, without ticks.
func (t *Tape) End(e flow.Entry, after time.Duration) {
	t.At = t.At.Add(after)
	e.Event, e.Duration = flow.End, after
	t.Entry(e)
}

// Finish ends the run.
func (t *Tape) Finish(e flow.Entry) {
	e.Event, e.Phase, e.Duration = flow.End, flow.PhaseRun, t.At.Sub(t.Info.Start)
	t.Entry(e)
}

// Phase begins a phase and ends it after d, with a tick each second.
func (t *Tape) Phase(e flow.Entry, d time.Duration) {
	t.Begin(e.Phase, e.ID)
	t.Ticks(int(d / time.Second))
	e.Event, e.Duration = flow.End, d
	t.Entry(e)
}

// Step begins a step and ends it after seconds, with a tick each second.
func (t *Tape) Step(name string, id flow.ID, seconds int, e flow.Entry) {
	t.Entry(flow.Entry{Event: flow.Begin, Phase: flow.PhaseStep, ID: id, Name: name})
	t.Ticks(seconds)
	e.Event, e.Phase, e.ID, e.Name, e.Duration = flow.End, flow.PhaseStep, id, name, time.Duration(seconds)*time.Second
	t.Entry(e)
}

// Ticks adds n ticks, one each second.
func (t *Tape) Ticks(n int) {
	for range n {
		t.At = t.At.Add(time.Second)
		at := t.At
		t.events = append(t.events, func(p Player) { p.Tick(at) })
	}
}

// Log adds a log line.
func (t *Tape) Log(level, msg string, id flow.ID) {
	t.Entry(flow.Entry{Event: flow.Log, ID: id, Level: level, Message: msg})
}

// Play plays the tape, ticks included.
func (t *Tape) Play(p Player) {
	p.Start(t.Info)
	for _, do := range t.events {
		do(p)
	}
}

// Plan gives the planned cases their folders.
func (t *Tape) Plan(dirs ...string) {
	for i := range t.Info.Plan {
		t.Info.Plan[i].Dir = dirs[i]
		t.Info.Plan[i].Doc = "The driver has bound the VF in every machine."
		t.Info.Plan[i].ClassDoc = "Enable VFs, boot machines, load the driver."
	}
}

// Passes returns a run of two cases that pass.
func Passes() *Tape {
	one, two := Boot("1VF-"+Profile), Boot("2VF-"+Profile)
	t := NewTape(one, two)
	for _, id := range []flow.ID{one, two} {
		fx := id.Fixture()
		t.Begin(flow.PhaseSetUp, fx)
		t.Step("enable VFs", fx, 0, flow.Entry{})
		t.Step("boot vm0", fx, 35, flow.Entry{})
		t.Log("INFO", "vm0 is ready", fx)
		t.End(flow.Entry{Phase: flow.PhaseSetUp, ID: fx}, 50*time.Millisecond)
		t.Phase(flow.Entry{Phase: flow.PhaseCase, ID: id, Dir: "01-x/test_vm_boot", Result: flow.Pass}, 3*time.Second)
		t.Phase(flow.Entry{Phase: flow.PhaseTearDown, ID: fx}, 2*time.Second)
		t.Phase(flow.Entry{Phase: flow.PhaseRestore, ID: fx}, 0)
	}
	t.Finish(flow.Entry{})
	return t
}

// Failures returns a run with failures of every kind.
func Failures() *Tape {
	ids := []flow.ID{
		Boot("1VF"), Boot("2VF"), Boot("3VF"), Boot("4VF"), Boot("5VF"), Boot("6VF"), Boot("7VF"),
		{File: "test_migration", Case: "test_2vm_pause_resume"},
	}
	t := NewTape(ids...)
	t.Info.TimeoutScale, t.Info.Notes = 5, nil
	c := func(i int, e flow.Entry, d time.Duration) {
		e.Phase, e.ID, e.Dir = flow.PhaseCase, ids[i], fmt.Sprintf("%02d-x/test_vm_boot", i+1)
		t.Phase(e, d)
	}
	c(0, flow.Entry{Result: flow.Pass}, time.Second)
	t.Begin(flow.PhaseCase, ids[1])
	t.Log("INFO", "modprobe xe\n\x1b[31mred\x1b[0m\a\tbytes \xff", ids[1].Fixture())
	t.Step("load xe", ids[1], 12, flow.Entry{Result: flow.Error, Reason: "exit code 1"})
	t.End(flow.Entry{
		Phase: flow.PhaseCase, ID: ids[1], Dir: "02-x/test_vm_boot", Result: flow.Fail, Blame: flow.BlameGuest,
		Where:  "basic/setup.go:41",
		Reason: "vm0: load xe: modprobe xe: exit code 1: \x1b]0;title\amodprobe: ERROR\nsecond line\n",
	}, 34*time.Millisecond)
	setUp := flow.Entry{
		Result: flow.Error, Reason: "set-up failed: start QEMU: not found (install it)", Blame: flow.BlameInfra,
	}
	t.Phase(
		flow.Entry{
			Phase: flow.PhaseSetUp, ID: ids[2].Fixture(), Result: flow.Error,
			Reason: "start QEMU: not found (install it)",
		},
		time.Second,
	)
	c(2, setUp, 0)
	c(3, flow.Entry{Result: flow.Skip, Reason: "need SR-IOV: the PF has no VFs\nat all"}, 0)
	c(
		4,
		flow.Entry{
			Result: flow.Timeout, Reason: "missed its deadline of 1 min and did not return; abandoned",
			Abandoned: true,
		},
		61*time.Second,
	)
	c(
		5,
		flow.Entry{
			Result: flow.Fail, Reason: "panic: index out of range",
			Stack: "goroutine 1 [running]:\nmain.x()\n\t/a/b.go:12 +0x1\n", Where: "basic/setup.go:50",
		},
		time.Second,
	)
	t.Phase(
		flow.Entry{
			Phase: flow.PhaseTearDown, ID: ids[5].Fixture(), Dir: "06-x/fixture-1", Result: flow.Error,
			Reason: "vm0: power off: no answer",
		},
		4*time.Second,
	)
	t.Phase(flow.Entry{
		Phase: flow.PhaseRestore, ID: ids[5].Fixture(), Result: flow.Error, Reason: "undo sriov_numvfs: EBUSY",
	}, 0)
	for _, id := range ids[6:] {
		t.End(flow.Entry{
			Phase: flow.PhaseCase, ID: id, Result: flow.NotRun,
			Reason: "the host is not restored: undo sriov_numvfs: EBUSY",
		}, 0)
	}
	t.Finish(flow.Entry{Result: flow.Error, Reason: "the host is not restored: undo sriov_numvfs: EBUSY"})
	return t
}

// Killed returns a run whose vmtb was killed in the second of three cases.
func Killed() *Tape {
	t := NewTape(Boot("1VF"), Boot("2VF"), Boot("3VF"))
	t.Phase(flow.Entry{Phase: flow.PhaseCase, ID: Boot("1VF"), Result: flow.Pass}, time.Second)
	t.Begin(flow.PhaseCase, Boot("2VF"))
	t.Ticks(3)
	return t
}

// Interrupted returns a run that was interrupted in the first of two cases.
func Interrupted() *Tape {
	t := NewTape(Boot("1VF"), Boot("2VF"))
	t.Phase(
		flow.Entry{Phase: flow.PhaseCase, ID: Boot("1VF"), Result: flow.Incomplete, Reason: "interrupted"}, time.Second,
	)
	t.End(flow.Entry{Phase: flow.PhaseCase, ID: Boot("2VF"), Result: flow.NotRun, Reason: "interrupted"}, 0)
	t.Finish(flow.Entry{Result: flow.Incomplete, Reason: "interrupted"})
	return t
}
