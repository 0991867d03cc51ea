//go:build lab

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"vmtb/flow"
	"vmtb/lab"
)

// TestVF provisions VFs by hand.
func TestVF(t *testing.T) {
	t.Parallel()
	d := start(t)
	t.Run("by hand", d.testVFByHand)
	t.Run("in use", d.testVFInUse)
	t.Run("recover", d.testVFRecover)
	t.Run("others' VFs", d.testVFOthers)
}

// vf is [dut.says] of "vmtb vf".
func (d *dut) vf(t *testing.T, code int, something string, args ...string) string {
	t.Helper()
	return d.says(t, code, something, append([]string{"vf"}, args...)...)
}

// A listedVF is a function in the JSON of "vmtb vf list --json".
type listedVF struct {
	Address, Driver string
	Quota           struct{ GGTT, Contexts, Doorbells uint64 }
	TimeSlice       struct {
		Quantum uint64 `json:"exec_quantum_ms"`
		Timeout uint64 `json:"preempt_timeout_us"`
	} `json:"time_slice"`
	UsedBy *struct {
		VM  string
		PID int
	} `json:"used_by"`
}

// functions returns the functions in the JSON output of vf with args, the PF and n VFs. Progress
// comes before the JSON.
func (d *dut) functions(t *testing.T, n int, args ...string) []listedVF {
	t.Helper()
	text := d.vf(t, flow.ExitPass, "", append(args, "--json")...)
	var list struct{ Functions []listedVF }
	if err := json.Unmarshal([]byte(text[max(0, strings.Index(text, "{")):]), &list); err != nil ||
		len(list.Functions) != n+1 {
		t.Fatalf("%v, want %d VFs in\n%s", err, n, text)
	}
	return list.Functions
}

// Each command has its effect, no run starts meanwhile, and disable restores the DUT.
func (d *dut) testVFByHand(t *testing.T) {
	for _, f := range d.functions(t, 2, "enable", "2")[1:] {
		if f.Driver != "xe-vfio-pci" || f.Quota.GGTT == 0 || f.Quota.Contexts == 0 || f.UsedBy != nil {
			t.Errorf("enabled: %+v", f)
		}
	}
	d.vf(t, flow.ExitPass, "", "provision", "1", "--eq=10", "--pt=20000", "--doorbells=8")
	d.vf(t, flow.ExitPass, "", "reset", "VF2")
	d.vf(t, flow.ExitPass, "", "bind", "2", "vfio-pci")
	d.vf(t, flow.ExitPass, "", "bind", "1", "none")
	now := d.functions(t, 2, "list")
	if f := now[1]; f.Driver != "" || f.Quota.Doorbells != 8 || f.TimeSlice.Quantum != 10 ||
		f.TimeSlice.Timeout != 20000 {
		t.Errorf("VF1: %+v", f)
	}
	if f := now[2]; f.Driver != "vfio-pci" || f.Quota.Doorbells == 8 || f.TimeSlice.Quantum != 0 {
		t.Errorf("VF2: %+v", f)
	}
	if table := d.vf(t, flow.ExitPass, "", "list"); !strings.Contains(table, now[2].Address) ||
		!strings.Contains(table, "ADVERSE EVENTS") {
		t.Errorf("the table:\n%s", table)
	}
	said := d.says(
		t, flow.ExitError, `"vmtb vf" has enabled or changed VFs`, "run", "--recover", "--run-dir", d.nextDir(),
		"--vm-image", lab.GuestImage, boot1VF,
	)
	if !strings.Contains(said, `"vmtb vf disable" restores the host`) {
		t.Errorf("a run says %q", said)
	}
	d.vf(t, flow.ExitError, "2 are enabled already", "enable", "3")
	d.vf(t, flow.ExitPass, "The host is restored.", "disable")
	d.clean(t)
	d.vf(t, flow.ExitUsage, "allows 1 to ", "enable", "99")
	d.vf(t, flow.ExitUsage, "there is no such VF, 0 are enabled", "reset", "1")
	d.clean(t)
}

// A VF that a QEMU uses is listed with that QEMU, and not changed.
func (d *dut) testVFInUse(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	vf := d.functions(t, 1, "enable", "1", "--profile=fit")[1]
	const pid = "/run/by-hand.pid"
	d.must(
		ctx, t,
		fmt.Sprintf(
			`qemu-system-x86_64 -name guest=mine,debug-threads=on -machine q35 -accel tcg -m 64 -S -nodefaults `+
				`-display none -device vfio-pci,host=%s -daemonize -pidfile %s`, vf.Address, pid,
		),
	)
	if u := d.functions(t, 1, "list")[1].UsedBy; u == nil || u.VM != "mine" || u.PID == 0 {
		t.Errorf("used by %+v", u)
	}
	for _, args := range [][]string{
		{"vf", "reset", "1"},
		{"vf", "bind", "1", "none"},
		{"vf", "provision", "1", "--doorbells=4"},
		{"vf", "disable"},
		{"recover"},
	} {
		d.says(t, flow.ExitError, "the VF is in use by mine (pid ", args...)
	}
	d.must(ctx, t, fmt.Sprintf(`kill $(cat %s)`, pid))
	d.wait(ctx, t, "QEMU to end", `! pgrep qemu-system`)
	d.vf(t, flow.ExitPass, "", "disable")
	d.clean(t)
}

// "vmtb recover" removes manually enabled VFs as it removes the leftovers of a run.
func (d *dut) testVFRecover(t *testing.T) {
	d.functions(t, 2, "enable", "2", "--profile=fit", "--sched=FLEXIBLE_30FPS", "--bind=vfio-pci")
	d.says(t, flow.ExitPass, "The host is restored.", "recover")
	d.clean(t)
	code, dir, err := d.run(t.Context(), "--warm", boot1VF)
	if err != nil || code != flow.ExitPass || results(t, dir)[boot1VF] != flow.Pass {
		t.Errorf("a run afterwards: exit code %d, %v", code, err)
	}
	d.clean(t)
}

// Disable also removes VFs without a record.
func (d *dut) testVFOthers(t *testing.T) {
	d.must(
		t.Context(), t,
		`for f in /sys/bus/pci/drivers/xe/*:*/sriov_numvfs; do echo 0 >${f%/*}/sriov_drivers_autoprobe; echo 2 >$f; `+
			`echo 1 >${f%/*}/sriov_drivers_autoprobe; done`,
	)
	d.functions(t, 2, "list")
	d.vf(t, flow.ExitError, "another program has enabled 2 VFs", "provision", "1", "--doorbells=4")
	d.vf(t, flow.ExitPass, "", "disable")
	d.clean(t)
}
