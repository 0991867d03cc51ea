package migration

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/bench/work"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

func addCheckpoint(r *flow.Registry) {
	add(r, "TestCheckpoint", "A machine is saved while it works, without a pause, and restored later.",
		each(basic, scenario{}),
		flow.Case[*bed]{
			Name: "test_save", Doc: "The machine is saved at work; the work passes.", Func: testCheckpointSave,
		},
		flow.Case[*bed]{
			Name:  "test_load",
			Doc:   "After the end of the work the machine is restored: it works again, and the work passes.",
			After: "test_save", Func: testCheckpointLoad,
		},
	)
}

func testCheckpointSave(ctx context.Context, t *flow.T, b *bed) {
	run := b.BeginOn(ctx, t, b.vm(), igt(work.SpinBatch).prepare(ctx, t, b.Setup, b.vm()))
	fixture.Steps{
		{"run the workload", func(ctx context.Context) error { return b.LetPass(ctx, beforeSave) }},
		{"check that the workload runs", func(ctx context.Context) error { return fixture.AtWork(ctx, run) }},
		{"save it while it runs", func(ctx context.Context) error { return b.save(ctx, t, tag) }},
		{"wait until the workload ends", func(ctx context.Context) error { return b.Passes(ctx, run) }},
	}.Run(ctx, t)
	b.saved = run
}

func testCheckpointLoad(ctx context.Context, t *flow.T, b *bed) {
	if b.saved == nil { // this case was selected without test_save
		testCheckpointSave(ctx, t, b)
	}
	fixture.Steps{
		{"check that no workload runs", func(ctx context.Context) error { return b.notRunning(ctx, "igt_runner") }},
		{"shut it down if another machine continues", b.off},
		{"prepare the target", b.copied},
		{"load the state", func(ctx context.Context) error { return b.goOn(ctx, tag) }},
	}.Run(ctx, t)
	run := b.saved.On(b.vm())
	fixture.Steps{
		{"check that the workload runs again", func(ctx context.Context) error { return fixture.AtWork(ctx, run) }},
		{"wait until the workload ends", func(ctx context.Context) error { return b.Passes(ctx, run) }},
		{"check that the drivers are loaded", b.drivers},
	}.Run(ctx, t)
}

// copied is target with copies of the disks, so that the checkpoint does not change.
func (b *bed) copied(ctx context.Context) error {
	if !b.two() {
		return nil
	}
	var failed error
	err := b.takeOver(ctx, func(spec *vm.Spec) {
		for i, d := range spec.Disks {
			if d.Access == vm.Direct && d.Format == "qcow2" && failed == nil {
				spec.Disks[i].Image, failed = b.copyFile(ctx, d.Image)
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// copyFile copies a file of the host into the same folder: both are removed together.
func (b *bed) copyFile(ctx context.Context, name string) (copied string, err error) {
	copied = filepath.Join(filepath.Dir(name), "copy-of-"+filepath.Base(name))
	c := bench.Command{Argv: []string{"cp", "--sparse=always", "--", name, copied}}
	r, err := b.Host.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	return copied, err
}

// notRunning returns an error if a process called name runs on the machine.
func (b *bed) notRunning(ctx context.Context, name string) error {
	r, err := b.vm().Exec(ctx, bench.Command{Argv: []string{"pgrep", "-x", name}})
	if err != nil {
		return err
	}
	if r.OK() {
		return fmt.Errorf("%s still runs on %v, as %s", name, b.vm(), strings.Fields(string(r.Stdout)))
	}
	return nil
}
