package migration

import (
	"context"
	"fmt"
	"strings"

	"vmtb/bench/work"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

type busyClass struct {
	name     string
	variants []fixture.Config
	load     load
	doomed   bool
}

// logs returns the kernel messages that a load causes in right use. A doomed load and IGT's tests that
// cancel jobs lose jobs: the guest's driver reports each, and an engine reset.
func (c busyClass) logs() []string {
	if test, _ := c.load.(igt); c.doomed || strings.HasPrefix(string(test), "EXEC_RESET_CANCEL") {
		return []string{`Engine reset: engine_class=`, `Timedout job: `}
	}
	return nil
}

// busyClasses are loads of machines that are saved while they work. The work must pass on the saved
// machine, which continues, and once more after the restore.
var busyClasses = []busyClass{
	{"TestBusyMigrationWsim1", full, wsim{"short_preempt", 1, 4000}, false},
	{"TestBusyMigrationWsim2", basic, wsim{"short_nonpreempt", 1, 4000}, false},
	{"TestBusyMigrationWsim3", basic, wsim{"long_preempt", 1, 200}, false},
	{"TestBusyMigrationWsim4", basic, wsim{"long_nonpreempt", 1, 200}, true},
	{"TestIdleAppMigration", basic, wsim{"idle_ctxs", 1, 1}, false},
	{"TestBusyMigrationIgtExecReset1", basic, igt(work.ExecResetLongSpinManyPreempt), false},
	{"TestBusyMigrationIgtExecReset2", basic, igt(work.ExecResetLongSpinManyPreemptMedia), false},
	{"TestBusyMigrationIgtExecReset3", full, igt(work.ExecResetLongSpinManyPreemptThreads), false},
	{"TestBusyMigrationIgtExecReset4", basic, igt(work.ExecResetLongSpinManyPreemptGT0Threads), false},
	{"TestBusyMigrationIgtExecReset5", basic, igt(work.ExecResetLongSpinManyPreemptGT1Threads), false},
	{"TestBusyMigrationIgtExecReset6", basic, igt(work.ExecResetLongSpinReuseManyPreempt), false},
	{"TestBusyMigrationIgtExecReset7", basic, igt(work.ExecResetLongSpinReuseManyPreemptMedia), false},
	{"TestBusyMigrationIgtExecReset8", full, igt(work.ExecResetLongSpinReuseManyPreemptThreads), false},
	{"TestBusyMigrationIgtExecReset9", basic, igt(work.ExecResetLongSpinReuseManyPreemptGT0Threads), false},
	{"TestBusyMigrationIgtExecReset10", basic, igt(work.ExecResetLongSpinReuseManyPreemptGT1Threads), false},
	{"TestBusyMigrationIgtExecReset11", full, igt(work.ExecResetLongSpinSysReuseManyPreemptThreads), false},
	{"TestBusyMigrationIgtExecReset12", full, igt(work.ExecResetLongSpinCompReuseManyPreemptThreads), false},
	{"TestBusyMigrationIgtExecReset13", basic, igt(work.ExecResetCancel), false},
	{"TestBusyMigrationIgtExecReset14", basic, igt(work.ExecResetCancelPreempt), false},
	{"TestBusyMigrationIgtExecReset15", basic, igt(work.ExecResetCancelTimeslicePreempt), false},
	{"TestBusyMigrationIgtExecReset16", basic, igt(work.ExecResetCancelTimesliceManyPreempt), false},
	{"TestBusyMigrationIgtExecThreads1", full, igt(work.ExecThreadsBasic), false},
	{"TestBusyMigrationIgtExecThreads2", basic, igt(work.ExecThreadsBalBasic), false},
	{"TestBusyMigrationIgtExecThreads3", basic, igt(work.ExecThreadsCMUserptrInvalidate), false},
	{"TestBusyMigrationIgtExecThreads4", full, igt(work.ExecThreadsManyQueues), false},
	{"TestBusyMigrationIgtExecThreads5", basic, igt(work.ExecThreadsBalMixedUserptrInvalidate), false},
	{"TestBusyMigrationIgtCcs", basic, igt(work.CCSBlockCopyCompressed), false},
	{"TestBusyMigrationIgtComputePreempt", basic, igt(work.ComputePreemptMany), false},
}

func addBusy(r *flow.Registry) {
	for _, c := range busyClasses {
		add(r, c.name, fmt.Sprintf("A machine that works (%v) is saved and restored.", c.load),
			each(c.variants, scenario{load: c.load, doomed: c.doomed}),
			flow.Case[*bed]{
				Name: "test_save", Doc: "The machine is saved at work; the work still passes on it.",
				AllowLog: c.logs(), Func: testBusySave,
			},
			flow.Case[*bed]{
				Name: "test_restore", Doc: "The restored machine is at work, and the work passes.", After: "test_save",
				AllowLog: c.logs(), Func: testBusyRestore,
			},
		)
	}
}

func testBusySave(ctx context.Context, t *flow.T, b *bed) {
	w := b.load.prepare(ctx, t, b.Setup, b.vm())
	if b.doomed {
		b.shortTimeout(ctx, t)
	}
	run := b.BeginOn(ctx, t, b.vm(), w)
	fixture.Steps{
		{"run the workload", func(ctx context.Context) error { return b.LetPass(ctx, beforeSave) }},
		{"check that the workload runs", func(ctx context.Context) error { return fixture.AtWork(ctx, run) }},
		{"pause " + b.vm().String(), b.vm().Power().Pause},
		{"save the machine", func(ctx context.Context) error { return b.saveWork(ctx, t) }},
		{"resume the machine", b.vm().Power().Resume},
		{"wait until the workload ends", func(ctx context.Context) error { return b.outcome(ctx, t, run) }},
		{"shut it down if another machine continues", b.off},
	}.Run(ctx, t)
	b.saved = run
}

func testBusyRestore(ctx context.Context, t *flow.T, b *bed) {
	if b.saved == nil { // this case was selected without test_save
		testBusySave(ctx, t, b)
	}
	if b.unsaved != nil {
		t.Skipf("nothing to restore: the save failed, as expected: %v", b.unsaved)
	}
	fixture.Steps{
		{"prepare the target", b.target},
		{"load the state", func(ctx context.Context) error { return b.goOn(ctx, tag) }},
	}.Run(ctx, t)
	run := b.saved.On(b.vm())
	if !b.doomed {
		fixture.Steps{
			{"check that the workload runs again", func(ctx context.Context) error { return fixture.AtWork(ctx, run) }},
			{"run the workload", func(ctx context.Context) error { return b.LetPass(ctx, afterRestore) }},
		}.Run(ctx, t)
	}
	fixture.Steps{
		{"wait until the workload ends", func(ctx context.Context) error { return b.outcome(ctx, t, run) }},
		{"check that the drivers are loaded", b.drivers},
	}.Run(ctx, t)
}

// doomedJob is the duration of a job of the doomed load. These jobs cannot be preempted. If the
// preemption timeout is shorter, pausing the machine resets its engine, and the work must fail. If
// the work passes, it was not running, or the timeout has no effect.
const doomedJob = 100_000 // us

// shortTimeout shortens the preemption timeout of the machine's VF to a small part of a job. Then
// it is unlikely that a job ends within the timeout when the machine is paused.
func (b *bed) shortTimeout(ctx context.Context, t *flow.T) {
	fixture.Steps{{"make the preemption timeout shorter than a job", func(ctx context.Context) error {
		slice, err := b.PF.Scheduler.TimeSlice(1)
		const limit = doomedJob / 20
		if err != nil || slice.Timeout > 0 && slice.Timeout <= limit {
			return err
		}
		slice = vgpu.TimeSlice{Quantum: slice.Quantum, Timeout: limit}
		t.Logf("VF1 now has %v, because a job takes %d us", slice, doomedJob)
		return b.PF.Scheduler.SetTimeSlice(ctx, 1, slice)
	}}}.Run(ctx, t)
}

// saveWork saves a machine at work. With doomed work a failure is allowed: it is kept in b.unsaved.
func (b *bed) saveWork(ctx context.Context, t *flow.T) error {
	err := b.save(ctx, t, tag)
	if err == nil || !b.doomed {
		return err
	}
	t.Logf("the save failed, as expected: %v", err)
	b.unsaved = err
	return nil
}

// outcome waits for the end of a workload. It returns nil if the outcome is the expected one.
func (b *bed) outcome(ctx context.Context, t *flow.T, run *work.Run) error {
	if !b.doomed {
		return b.Passes(ctx, run)
	}
	results, err := b.End(ctx, run)
	if err != nil || b.unsaved != nil { // if the save failed, the result of the work does not matter
		return err
	}
	lost := results[0].Err()
	if lost == nil {
		return fmt.Errorf(
			"unexpected success of %v: its jobs of %d us cannot be preempted, and the VF's preemption timeout is "+
				"shorter", run,
			doomedJob,
		)
	}
	t.Logf("the work failed, as expected: %v", lost)
	return nil
}
