package provisioning

import (
	"context"
	"slices"
	"time"

	"vmtb/bench/vm"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

const file = "xe_provisioning"

// Register adds the flows of xe_provisioning.
func Register(r *flow.Registry) {
	flow.Add(r, file, flow.Class[fixture.Config, *fixture.Setup]{
		Name: "TestSelfConfig",
		Own:  true,
		Doc:  "A guest's driver sees the resources that the host gave to its VF.",
		Params: []fixture.Config{
			{VFs: 1, MaxVMs: 4, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite},
			{VFs: 2, MaxVMs: 4, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite},
			{VFs: 4, MaxVMs: 4, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite},
			{VFs: 1, MaxVMs: 4, Provisioning: fixture.Profile, Scheduling: vgpu.DefaultProfile},
			{VFs: 2, MaxVMs: 4, Provisioning: fixture.Profile, Scheduling: vgpu.DefaultProfile},
			{VFs: 4, MaxVMs: 4, Provisioning: fixture.Profile, Scheduling: vgpu.DefaultProfile},
		},
		Fixture: fixture.Machines,
		Needs:   []flow.Need[fixture.Config]{fixture.GuestImage, fixture.EnoughVFs},
		Timeout: 2 * time.Minute,
		Cases: []flow.Case[*fixture.Setup]{
			{Name: "test_self_config", Doc: "Quotas and self_config agree for every VF.", Func: testSelfConfig},
			{
				Name: "test_change", Doc: "A guest sees a changed quota after a reset of its VF.",
				Func: testChange,
			},
		},
	})
	flow.Add(r, file, flow.Class[fixture.Config, *fixture.Setup]{
		Name: "TestSchedulingOnly",
		Own:  true,
		Doc:  "Scheduling set on top of automatic resources leaves them automatic.",
		Params: []fixture.Config{
			{VFs: 1, Provisioning: fixture.Auto, Scheduling: vgpu.DefaultProfile},
			{VFs: 2, Provisioning: fixture.Auto, Scheduling: vgpu.DefaultProfile},
			{VFs: 2, Provisioning: fixture.Auto, Scheduling: vgpu.Fixed30FPS},
		},
		Fixture: fixture.VFs,
		Needs:   []flow.Need[fixture.Config]{fixture.EnoughVFs},
		Timeout: time.Minute,
		Cases: []flow.Case[*fixture.Setup]{
			{
				Name: "test_release",
				Doc:  "The time slices are as planned, and disabling the VFs frees their resources.",
				Func: testRelease,
			},
		},
	})
}

func testSelfConfig(ctx context.Context, t *flow.T, s *fixture.Setup) {
	for i := range s.VMs {
		agree(ctx, t, s, i)
	}
}

// agree compares the resources of VF i+1 on the host with those that machine i sees.
func agree(ctx context.Context, t *flow.T, s *fixture.Setup, i int) {
	given, err := s.PF.Quotas.ByGT(i + 1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := resources(ctx, s.VMs[i], s.GuestDriver)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, given) {
		t.Errorf("%v: VF%d holds, by GT, %+v on the host and %+v in the guest", s.VMs[i], i+1, given, got)
	}
	t.Logf("%v: VF%d holds, by GT, %+v", s.VMs[i], i+1, given)
}

// resources returns the resources of the VF on each GT, as the guest's driver sees them.
func resources(ctx context.Context, m *vm.VM, driver string) ([]vgpu.Resources, error) {
	vf, err := fixture.GuestVF(ctx, m, driver)
	if err != nil {
		return nil, err
	}
	return vf.ByGT(ctx)
}

// Steps of quotas in bytes: GGTT has pages of 4 KiB, VRAM of 2 MiB (contract, section 3.4).
const (
	ggttStep = 4 << 10
	vramStep = 2 << 20
)

func testChange(ctx context.Context, t *flow.T, s *fixture.Setup) {
	before, err := s.PF.Quotas.Of(1)
	if err != nil {
		t.Fatal(err)
	}
	half := vgpu.Resources{
		GGTT: before.GGTT / 2 / ggttStep * ggttStep, VRAM: before.VRAM / 2 / vramStep * vramStep,
		Contexts: before.Contexts / 2, Doorbells: before.Doorbells / 2,
	}
	m := s.VMs[0]
	vf, err := fixture.GuestVF(ctx, m, s.GuestDriver)
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"unload the guest's driver", func(ctx context.Context) error { return fixture.Unload(ctx, m, s.GuestDriver) }},
		{"halve the quotas of VF1", func(ctx context.Context) error { return s.PF.Quotas.Set(ctx, 1, half) }},
		{"reset the VF", vf.Reset},
		{"load the guest's driver", func(ctx context.Context) error { return fixture.Load(ctx, m, s.GuestDriver) }},
	}
	for _, step := range steps {
		if err := t.Step(ctx, step.name, step.do); err != nil {
			t.Fatal(err)
		}
	}
	agree(ctx, t, s, 0)
	if after, err := s.PF.Quotas.Of(1); err != nil || after != half {
		t.Errorf("VF1 holds %+v after it was given %+v: %v", after, half, err)
	}
}

func testRelease(ctx context.Context, t *flow.T, s *fixture.Setup) {
	for fn := range s.Config.VFs + 1 {
		want := s.Plan.Scheduling.VF
		if fn == 0 {
			want = s.Plan.Scheduling.PF
		}
		if got, err := s.PF.Scheduler.TimeSlice(fn); err != nil || got != want {
			t.Errorf("function %d has the time slice %v, %v, want %v", fn, got, err, want)
		}
	}
	if err := s.PF.DisableVFs(ctx); err != nil {
		t.Fatal(err)
	}
	for vf := 1; vf <= s.Config.VFs; vf++ {
		if left, err := s.PF.Quotas.Of(vf); err != nil || left != (vgpu.Resources{}) {
			t.Errorf("VF%d still holds %+v after it was disabled (%v): the PF has left automatic mode", vf, left, err)
		}
	}
}
