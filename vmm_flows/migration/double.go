package migration

import (
	"context"
	"fmt"
	"slices"
	"time"

	"vmtb/bench/xe"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

// doubleClasses are the classes that save a machine a second time during its recovery from the
// first restore. A stopper in the guest's driver holds the recovery (gt0/vf/resfix_stoppers). The
// stopper is part of the saved state.
var doubleClasses = []struct {
	name    string
	stopper xe.Stoppers
	restore which
}{
	{"TestDoubleMigration1Resfix1", xe.StopBeforeResfix, first},
	{"TestDoubleMigration1Resfix2", xe.StopBeforeFixups, first},
	{"TestDoubleMigration1Resfix3", xe.StopBeforeJobs, first},
	{"TestDoubleMigration1Resfix4", xe.StopBeforeDone, first},
	{"TestDoubleMigration2Resfix1", xe.StopBeforeResfix, second},
	{"TestDoubleMigration2Resfix2", xe.StopBeforeFixups, second},
	{"TestDoubleMigration2Resfix3", xe.StopBeforeJobs, second},
	{"TestDoubleMigration2Resfix4", xe.StopBeforeDone, second},
}

func addDouble(r *flow.Registry) {
	for _, c := range doubleClasses {
		add(r, c.name, fmt.Sprintf(
			"A machine that works is saved again while stopper %#x holds its recovery, and continues from the %s save.",
			uint8(c.stopper), map[which]string{first: "first", second: "second"}[c.restore],
		),
			each(quotas, scenario{load: wsim{"short_preempt", 1, 4000}, stopper: c.stopper, restore: c.restore}),
			flow.Case[*bed]{
				Name: "test_save", Doc: "The machine is saved at work with a stopper set; the work still passes on it.",
				Func: testDoubleSave,
			},
			flow.Case[*bed]{
				Name: "test_restore_save",
				Doc: "The restored machine's recovery is held; the machine is saved again, the recovery continues, " +
					"and the work passes.", After: "test_save", Func: testRestoreSave,
			},
		)
	}
}

// secondTag is the name of the snapshot that is made while the recovery is held.
const secondTag = tag + "-2"

func testDoubleSave(ctx context.Context, t *flow.T, b *bed) {
	b.setStoppers(ctx, t, b.stopper)
	testBusySave(ctx, t, b)
}

func testRestoreSave(ctx context.Context, t *flow.T, b *bed) {
	if b.saved == nil { // this case was selected without test_save
		testDoubleSave(ctx, t, b)
	}
	defer b.clearStoppers(ctx, t)
	fixture.Steps{
		{"prepare the target", b.target},
		{"load the state", func(ctx context.Context) error { return b.goOn(ctx, tag) }},
		{
			"let the recovery reach its stopper",
			func(ctx context.Context) error { return b.LetPass(ctx, afterRestore) },
		},
		{"check that the stopper is set", func(ctx context.Context) error { return b.stoppersAre(ctx, b.stopper) }},
	}.Run(ctx, t)
	run := b.saved.On(b.vm())
	again := fixture.Steps{
		{"save the machine again", func(ctx context.Context) error { return b.save(ctx, t, secondTag) }},
	}
	if b.restore == second {
		again = slices.Concat(
			fixture.Steps{{"pause the machine", b.vm().Power().Pause}}, again,
			fixture.Steps{
				{
					"load the second save",
					func(ctx context.Context) error { return b.goOn(ctx, secondTag) },
				},
			},
		)
	}
	again.Run(ctx, t)
	fixture.Steps{
		{"check that the workload runs", func(ctx context.Context) error { return fixture.AtWork(ctx, run) }},
		{"let the recovery continue", func(ctx context.Context) error { return b.stop(ctx, 0) }},
		{"wait until the workload ends", func(ctx context.Context) error { return b.Passes(ctx, run) }},
		{"check that the drivers are loaded", b.drivers},
	}.Run(ctx, t)
}

// setStoppers sets the stoppers of the machine. A driver without stoppers skips the case.
func (b *bed) setStoppers(ctx context.Context, t *flow.T, s xe.Stoppers) {
	fixture.Steps{{fmt.Sprintf("set stopper %#x in %v", uint8(s), b.vm()), func(ctx context.Context) error {
		err := b.stop(ctx, s)
		fixture.Require(t, err)
		return err
	}}}.Run(ctx, t)
}

// stop sets the stoppers of the first GT, like the Python tool.
func (b *bed) stop(ctx context.Context, s xe.Stoppers) error {
	vf, err := fixture.GuestVF(ctx, b.vm(), b.GuestDriver)
	if err != nil {
		return err
	}
	return vf.SetResfixStoppers(ctx, vf.GTs[0], s)
}

func (b *bed) stoppersAre(ctx context.Context, want xe.Stoppers) error {
	vf, err := fixture.GuestVF(ctx, b.vm(), b.GuestDriver)
	if err != nil {
		return err
	}
	got, err := vf.ResfixStoppers(ctx, vf.GTs[0])
	if err == nil && got != want {
		err = fmt.Errorf("%v: stoppers are %#x, want %#x as at the save", b.vm(), uint8(got), uint8(want))
	}
	return err
}

// clearTime bounds the time to clear the stoppers at the end of a case.
const clearTime = 10 * time.Second

// clearStoppers clears the stoppers at the end of a case, even if it failed. The machine may no
// longer answer, so it only logs an error.
func (b *bed) clearStoppers(ctx context.Context, t *flow.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.Env().Scaled(clearTime))
	defer cancel()
	if err := b.stop(ctx, 0); err != nil {
		t.Logf("%v: the stoppers are not cleared: %v", b.vm(), err)
	}
}
