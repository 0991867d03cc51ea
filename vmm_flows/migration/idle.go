package migration

import (
	"context"
	"fmt"
	"strings"

	"vmtb/bench"
	"vmtb/bench/work"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

func addIdle(r *flow.Registry) {
	add(r, "TestIdleMigration", "A machine with an idle VF and a running program is saved and restored.",
		each(basic, scenario{}),
		flow.Case[*bed]{
			Name: "test_save", Doc: "The machine is saved while paused, after its VF has worked.", Func: testIdleSave,
		},
		flow.Case[*bed]{
			Name: "test_restore", Doc: "After the restore the program still runs, and the VF works.",
			After: "test_save", Func: testIdleRestore,
		},
	)
}

func addNoDriver(r *flow.Registry) {
	c := fixture.Config{
		VFs: 1, MaxVMs: 1, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite, ManualDriver: true, Moves: true,
	}
	add(r, "", "", []scenario{{Config: c, bare: true}}, flow.Case[*bed]{
		Name: "test_1vm_save_restore_no_driver",
		Doc:  "A machine without a driver on its VF is saved and restored; the driver then loads, and the VF works.",
		Func: testNoDriver,
	})
}

// editor is a program that waits for input forever.
const editor = "vim migrate.txt"

func testIdleSave(ctx context.Context, t *flow.T, b *bed) {
	b.Works(ctx, t, b.vm())
	run := b.edit(ctx, t)
	fixture.Steps{
		{"pause " + b.vm().String(), b.vm().Power().Pause},
		{"save the machine", func(ctx context.Context) error { return b.save(ctx, t, tag) }},
		{"resume the machine", b.vm().Power().Resume},
		{"end the editor", func(ctx context.Context) error { return b.stopEditing(ctx, run) }},
		{"shut it down if another machine continues", b.off},
	}.Run(ctx, t)
	b.saved = run
}

func testIdleRestore(ctx context.Context, t *flow.T, b *bed) {
	if b.saved == nil { // this case was selected without test_save
		testIdleSave(ctx, t, b)
	}
	fixture.Steps{
		{"prepare the target", b.target},
		{"load the state", func(ctx context.Context) error { return b.goOn(ctx, tag) }},
		{
			"check that the editor still runs",
			func(ctx context.Context) error { return b.editing(ctx, b.saved.On(b.vm())) },
		},
	}.Run(ctx, t)
	b.Works(ctx, t, b.vm())
	fixture.Steps{{"check that the drivers are loaded", b.drivers}}.Run(ctx, t)
}

func testNoDriver(ctx context.Context, t *flow.T, b *bed) {
	run := b.edit(ctx, t)
	fixture.Steps{
		{"pause " + b.vm().String(), b.vm().Power().Pause},
		{"save the machine", func(ctx context.Context) error { return b.save(ctx, t, tag) }},
		{"end the editor", func(ctx context.Context) error {
			if err := b.vm().Power().Resume(ctx); err != nil {
				return err
			}
			return b.stopEditing(ctx, run)
		}},
		{"load the state", func(ctx context.Context) error { return b.goOn(ctx, tag) }},
		{"check that the editor still runs", func(ctx context.Context) error { return b.editing(ctx, run) }},
		{"load " + b.GuestDriver, func(ctx context.Context) error { return fixture.Load(ctx, b.vm(), b.GuestDriver) }},
		{"check that the drivers are loaded", b.drivers},
	}.Run(ctx, t)
	b.Works(ctx, t, b.vm())
}

// edit starts the editor on the machine. Its input stays open and empty.
func (b *bed) edit(ctx context.Context, t *flow.T) *work.Run {
	r, err := b.vm().Exec(ctx, bench.Shell("command -v vim"))
	if err == nil && !r.OK() {
		err = fmt.Errorf("%v has no vim: %w", b.vm(), bench.ErrNotAvailable)
	}
	fixture.Require(t, err)
	run := b.BeginOn(
		ctx, t, b.vm(), work.Shell{Line: "tail -f /dev/null | " + editor, Dir: "/tmp", Env: []string{"TERM=dumb"}},
	)
	fixture.Steps{
		{"check that the editor runs", func(ctx context.Context) error { return b.editing(ctx, run) }},
	}.Run(ctx, t)
	return run
}

// editing returns an error unless the editor runs. Both the workload and the process of the editor
// must be alive. The command line of the workload's shell contains the same words, so pgrep matches
// the whole line.
func (b *bed) editing(ctx context.Context, run *work.Run) error {
	if err := fixture.AtWork(ctx, run); err != nil {
		return err
	}
	r, err := b.vm().Exec(ctx, bench.Command{Argv: []string{"pgrep", "-f", "^" + editor + "$"}})
	if err == nil && (!r.OK() || len(strings.Fields(string(r.Stdout))) == 0) {
		err = fmt.Errorf("no process %q on %v", editor, b.vm())
	}
	return err
}

// stopEditing ends the editor. After the restore, only the restored editor can be running.
func (b *bed) stopEditing(ctx context.Context, run *work.Run) error {
	if err := run.Kill(ctx, 0); err != nil {
		return err
	}
	_, err := b.End(ctx, run)
	return err
}
