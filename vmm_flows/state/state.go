package state

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/bench/work"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/internal/procfs"
	"vmtb/internal/prose"
	"vmtb/vmm_flows/fixture"
)

const file = "vm_state"

// Register adds the flows of vm_state.
func Register(r *flow.Registry) {
	needs := []flow.Need[fixture.Config]{fixture.GuestImage, fixture.EnoughVFs, fixture.Movable}
	flow.Add(r, file, flow.Class[fixture.Config, *fixture.Setup]{
		Name:    "TestSaveRestore",
		Own:     true,
		Doc:     "The state of a machine with a VF is saved and restored, into a snapshot and into a file.",
		Params:  []fixture.Config{{VFs: 1, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite, Moves: true}},
		Fixture: fixture.Machines,
		Needs:   needs,
		Timeout: 5 * time.Minute,
		Cases: []flow.Case[*fixture.Setup]{
			{
				Name: "test_pause", Doc: "A paused machine does not answer, and works again when it is resumed.",
				Func: testPause,
			},
			{
				Name: "test_snapshot", Doc: "Loading a snapshot undoes later changes in the guest, and nothing else.",
				Func: testSnapshot,
			},
			{Name: "test_file", Doc: "A machine is saved to a file and continues in another QEMU.", Func: testFile},
		},
	})
	flow.Add(r, file, flow.Class[fixture.Config, *fixture.Setup]{
		Name: "TestLiveMigration",
		Own:  true,
		Doc:  "A running machine is live-migrated from one VF to another.",
		Params: []fixture.Config{
			{VFs: 2, MaxVMs: 1, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite, Moves: true},
		},
		Fixture: fixture.Machines,
		Needs:   needs,
		Timeout: 5 * time.Minute,
		Cases: []flow.Case[*fixture.Setup]{
			{
				Name: "test_live", Doc: "A cancelled migration leaves the machine in place; the next one moves it.",
				Func: testLive,
			},
		},
	})
}

// A witness records what a guest must still have after a restore: a running workload, its boot id,
// and the resources of its VF.
type witness struct {
	run    *work.Run
	boot   string
	config []vgpu.Resources // by GT
}

const stopFile = "/tmp/vmtb-stop"

// observe starts the workload of a guest and returns its witness.
func observe(ctx context.Context, t *flow.T, s *fixture.Setup, m *vm.VM) (w witness) {
	var err error
	must(t, remove(ctx, m, stopFile))
	w.run, err = work.Start(
		ctx, m, work.Shell{Line: "until [ -e " + stopFile + " ]; do sleep 0.2; done; echo went on"}, work.Options{},
	)
	must(t, err)
	w.boot, w.config = bootID(ctx, t, m), selfConfig(ctx, t, s, m)
	return w
}

// check fails the case unless machine m still has everything that w records.
func (w witness) check(ctx context.Context, t *flow.T, s *fixture.Setup, m *vm.VM) {
	if got := bootID(ctx, t, m); got != w.boot {
		t.Errorf("%v: the guest was booted again: boot id %s before, %s now", m, w.boot, got)
	}
	if got := selfConfig(ctx, t, s, m); !slices.Equal(got, w.config) {
		t.Errorf("%v: the configuration of the VF changed: %+v before, %+v now", m, w.config, got)
	}
	run := w.run.On(m)
	if running, err := run.Running(ctx); err != nil || !running {
		t.Fatalf("%v: the workload does not continue: %v", m, err)
	}
	must(t, m.WriteFile(ctx, stopFile, nil))
	r, err := run.Wait(ctx)
	must(t, err)
	if r.Err() != nil || string(r.Exit.Stdout) != "went on\n" {
		t.Errorf("%v: the workload printed %q: %v", m, r.Exit.Stdout, r.Err())
	}
	must(t, run.Remove(ctx))
}

func must(t *flow.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func remove(ctx context.Context, m bench.Machine, path string) error {
	c := bench.Command{Argv: []string{"rm", "-f", path}}
	r, err := m.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	return err
}

func bootID(ctx context.Context, t *flow.T, m bench.Machine) string {
	data, err := m.ReadFile(ctx, procfs.BootIDFile)
	must(t, err)
	return strings.TrimSpace(string(data))
}

// selfConfig returns the resources of the VF on each GT, as the guest's driver reports them.
func selfConfig(ctx context.Context, t *flow.T, s *fixture.Setup, m bench.Machine) []vgpu.Resources {
	vf, err := fixture.GuestVF(ctx, m, s.GuestDriver)
	must(t, err)
	held, err := vf.ByGT(ctx)
	must(t, err)
	return held
}

func testPause(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[0]
	w := observe(ctx, t, s, m)
	must(t, m.Power().Pause(ctx))
	if _, err := m.ReadFile(ctx, "/proc/uptime"); err == nil {
		t.Errorf("%v answers while it is paused", m)
	}
	must(t, m.Power().Resume(ctx))
	w.check(ctx, t, s, m)
}

func testSnapshot(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[0]
	const marker = "/tmp/vmtb-marker"
	w := observe(ctx, t, s, m)
	must(t, m.WriteFile(ctx, marker, []byte("before")))
	must(t, t.Step(ctx, "save a snapshot", func(ctx context.Context) error { return m.Snapshots().Save(ctx, "vmtb") }))
	must(t, m.WriteFile(ctx, marker, []byte("after")))
	must(t, t.Step(ctx, "load the state", func(ctx context.Context) error { return m.Snapshots().Load(ctx, "vmtb") }))
	if data, err := m.ReadFile(ctx, marker); err != nil || string(data) != "before" {
		t.Errorf("%v: the marker reads %q, %v, want \"before\"", m, data, err)
	}
	w.check(ctx, t, s, m)
	must(t, m.Snapshots().Delete(ctx, "vmtb"))
}

func testFile(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[0]
	w := observe(ctx, t, s, m)
	state := filepath.Join(t.Dir(), "state")
	must(t, t.Step(ctx, "save to a file", func(ctx context.Context) error {
		moved, err := m.StateFiles().Save(ctx, state)
		if err == nil && moved.VF == 0 {
			t.Errorf("%v: no state of the VF was saved", m)
		}
		return err
	}))
	must(t, m.Power().Quit(ctx))
	must(t, t.Step(ctx, "load the state in another QEMU", func(ctx context.Context) (err error) {
		if m, err = s.Again(ctx, m, vm.ModeIncoming); err != nil {
			return err
		}
		s.VMs[0] = m
		if err := m.StateFiles().Load(ctx, state); err != nil {
			return err
		}
		return m.Power().Resume(ctx)
	}))
	w.check(ctx, t, s, m)
}

func testLive(ctx context.Context, t *flow.T, s *fixture.Setup) {
	m := s.VMs[0]
	w := observe(ctx, t, s, m)
	must(t, s.BindSpare(ctx, 1))
	vf, err := s.Assignable(1)
	must(t, err)

	to, err := s.Start(ctx, m.Twin("vm1", vf), vm.ModeIncoming)
	must(t, err)
	stopped, stop := context.WithCancel(ctx)
	must(t, t.Step(ctx, "cancel a migration", func(context.Context) error {
		_, err := m.Migrate(stopped, to, vm.MigrateOptions{Progress: func(vm.Migration) { stop() }})
		if err == nil {
			return fmt.Errorf("%v: a cancelled migration completed", m)
		}
		return nil
	}))
	if state, err := m.State(ctx); err != nil || state != vm.Running {
		t.Fatalf("%v is %s after a cancelled migration (%v), want running", m, state, err)
	}
	must(t, to.Close(ctx)) // it has received only a part of the state

	to, err = s.Start(ctx, m.Twin("vm1", vf), vm.ModeIncoming)
	must(t, err)
	must(t, t.Step(ctx, "migrate to VF2", func(ctx context.Context) error {
		moved, err := m.Migrate(ctx, to, vm.MigrateOptions{})
		if err == nil {
			t.Logf("moved in %s, paused for %s: %d KiB of memory, %d KiB of VF state",
				prose.Duration(moved.Total), prose.Duration(moved.Downtime), moved.RAM>>10, moved.VF>>10)
			s.VMs = append(s.VMs[:0], to)
		}
		if err == nil && moved.VF == 0 {
			t.Errorf("%v: no state of the VF was moved", m)
		}
		return err
	}))
	must(t, m.Close(ctx))
	w.check(ctx, t, s, to)
}
