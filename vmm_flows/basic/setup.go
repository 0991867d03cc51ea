package basic

import (
	"context"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/vmm_flows/fixture"
)

func addVMSetup(r *flow.Registry) {
	flow.Add(r, file, flow.Class[fixture.Config, *fixture.Setup]{
		Name: "TestVmSetup",
		Doc:  "Enable and provision VFs, boot a machine with each VF, load their drivers, and restore the host.",
		Params: []fixture.Config{
			{VFs: 1, Provisioning: fixture.Profile, Scheduling: vgpu.DefaultProfile},
			{VFs: 2, Provisioning: fixture.Profile, Scheduling: vgpu.DefaultProfile},
			{VFs: 2, Provisioning: fixture.Auto, Scheduling: vgpu.Infinite},
		},
		Fixture: fixture.Machines,
		Needs:   []flow.Need[fixture.Config]{fixture.GuestImage, fixture.EnoughVFs, fixture.ProfileAvailable},
		Timeout: 2 * time.Minute,
		Cases: []flow.Case[*fixture.Setup]{
			{Name: "test_vm_boot", Doc: "The driver has bound the VF in every machine.", Func: testVMBoot},
		},
	})
}

func testVMBoot(ctx context.Context, t *flow.T, s *fixture.Setup) {
	for _, m := range s.VMs {
		bound, err := xe.DriverBound(ctx, m, s.GuestDriver)
		switch {
		case err != nil:
			t.Errorf("%v: %v", m, err)
		case len(bound) == 0:
			t.Errorf(
				"%v: the driver %s has bound no device; the guest's kernel said:\n%s", m, s.GuestDriver,
				kernelLog(ctx, m, s.GuestDriver),
			)
		default:
			t.Logf("%v: %s has bound %v", m, s.GuestDriver, bound)
		}
	}
}

// kernelLog returns the last lines of the guest's kernel log that contain word.
func kernelLog(ctx context.Context, m bench.Machine, word string) string {
	r, err := m.Exec(ctx, bench.Command{Argv: []string{"dmesg"}})
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(r.Stdout)) {
		if strings.Contains(line, word+" ") || strings.Contains(line, word+":") {
			lines = append(lines, line)
		}
	}
	return bench.Tail([]byte(strings.Join(lines, "")), 5)
}
