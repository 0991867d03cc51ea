//go:build lab

package lab_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmtb/flow"
	"vmtb/lab"
)

// TestFaults: if the GPU fails, vmtb reports the real driver's failure correctly, and the host is
// restored.
func TestFaults(t *testing.T) {
	t.Parallel()
	d := start(t)
	const quick = "xe_provisioning::TestSchedulingOnly::test_release[1VF]"
	for _, c := range []struct {
		name, property string
		value          any
		before, after  string // shell lines in the DUT, before the fault and with it
		selection      string
		code           int
		says           []string
		logs           string // in the kernel log of the DUT
	}{
		{
			name: "firmware does not start", property: "fault-guc-status", value: 0x7100, before: reloadXe,
			selection: quick,
			code:      flow.ExitError, says: []string{"has initialised no GPU", "illegal init/ADS data"},
			logs: "probe with driver xe failed",
		},
		{
			name: "provisioning by hand fails", property: "fault-h2g", value: "0x5503:0:fail:0x30", selection: boot1VF,
			code: flow.ExitError, says: []string{"ggtt_quota: EIO", "the GPU's firmware refused", "(vf-trouble)"},
			logs: "H2G request 0x5503 failed: error 0x30",
		},
		{
			name: "scheduling fails", property: "fault-h2g", value: "0x5503:0:fail:0x30", selection: quick,
			code: flow.ExitError, says: []string{"exec_quantum_ms: EIO"},
			logs: "Failed to provision PF with 20ms execution quantum (-EIO)",
		},
		{ // a reset that fails makes the driver declare the GPU wedged
			name: "a wedged GPU", property: "fault-guc-status", value: 0x7100, after: resetGT, selection: quick,
			code: flow.ExitError, says: []string{"exec_quantum_ms: ECANCELED", "has declared the GPU wedged"},
			logs: "declared device 0000:00:02.0 as wedged",
		},
		{ // the driver gives up on the FLR
			name: "an FLR that never ends", property: "fault-flr-stuck", value: 1 << 1, selection: quick,
			code: flow.ExitPass, says: []string{"DMESG-WARN", "(-ETIMEDOUT) (vf-troub"}, logs: "VF1 FLR didn't finish",
		},
		{ // one GT has the new quantum; the other accepts no request until the driver is reloaded
			name: "a message with a wrong length", property: "fault-ctb-corrupt", value: 1 << 0, selection: quick,
			code: flow.ExitNotRestored, says: []string{"exec_quantum_ms: ETIME", "(gpu-reset)"},
			logs: "G2H channel broken on read",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.before != "" {
				d.must(t.Context(), t, c.before)
			}
			d.must(t.Context(), t, "dmesg -C")
			d.fault(t, c.property, c.value)
			if c.after != "" {
				d.must(t.Context(), t, c.after)
			}
			dir := d.nextDir()
			var out bytes.Buffer
			args := []string{
				"run", "-v", "--run-dir", dir, "--vm-image", lab.GuestImage, "--timeout-scale", "5", c.selection,
			}
			code, err := d.Vmtb(t.Context(), args, io.MultiWriter(&out, d.out))
			if err != nil || code != c.code {
				t.Errorf("exit code %d, %v, want %d", code, err, c.code)
			}
			for _, text := range c.says {
				if !strings.Contains(out.String(), text) {
					t.Errorf("the output does not say %q", text)
				}
			}
			if got := results(t, dir); len(got) != 1 {
				t.Errorf("results %v, want one", got)
			}
			d.noFault(t, c.property, c.value)
			d.must(t.Context(), t, "dmesg >"+filepath.Join(d.dir, "dmesg"))
			log, err := os.ReadFile(filepath.Join(d.dir, "dmesg"))
			if err != nil || !strings.Contains(string(log), c.logs) {
				t.Errorf("the kernel does not say %q: %v\n%s", c.logs, err, log)
			}
			d.must(t.Context(), t, reloadXe+"; modprobe xe")
			if c.code == flow.ExitNotRestored {
				d.recover(t, dir)
			}
			d.clean(t)
		})
	}
}

// TestFaultsWarm: with each fault of the GPU, warm and booted machines give the same exit code and
// the same result of each case. The test prints the table of docs/warm.md.
func TestFaultsWarm(t *testing.T) {
	if !full() {
		t.Skip("make lab-full: it boots a machine for each fault")
	}
	t.Parallel()
	d := start(t)
	const (
		store = "test_basic::TestVmWorkload::test_store[1VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)]"
		file  = "vm_state::TestSaveRestore::test_file[1VF-(P:AUTO S:INFINITE)]"
	)
	var table strings.Builder
	for _, c := range []struct {
		property  string
		value     any
		selection []string
	}{
		{"", nil, []string{boot1VF, store, file}},
		{"fault-h2g", "0x5503:0:fail:0x30", []string{boot1VF, store}},
		{"fault-h2g", "0x5503:2:drop", []string{boot1VF, store}},
		{"fault-h2g", "0x5503:0:delay:20", []string{boot1VF, store}},
		{"fault-restore-lost", 1 << 1, []string{file}},
		{"fault-kill-work", 1 << 1, []string{boot1VF, store}},
		{"fault-hang-work", 1 << 1, []string{boot1VF, store}},
		{"fault-favour", 1 << 1, []string{boot1VF, store}},
		{"fault-flr-stuck", 1 << 1, []string{boot1VF, store}},
		{"fault-pause-stuck", 1 << 1, []string{file}},
		{"fault-ctb-corrupt", 1 << 1, []string{boot1VF, store}},
		{"fault-ct-dead", 1 << 1, []string{boot1VF, store}},
		{"fault-guc-status", 0x7100, []string{boot1VF, store}},
		{"fault-adverse", "1:0x8a03:5", []string{boot1VF, store}},
	} {
		name := strings.TrimSpace(fmt.Sprintf("%s %v", c.property, cmp.Or(c.value, any("none"))))
		var said [2]string
		for i, mode := range []string{"", "--warm"} {
			t.Run(name+mode, func(t *testing.T) { said[i] = d.underFault(t, c.property, c.value, mode, c.selection) })
		}
		if said[0] != said[1] {
			t.Errorf("%s: cold %s, warm %s", name, said[0], said[1])
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", name, said[0], said[1])
	}
	t.Logf("fault, cold, warm:\n%s", table.String())
}

// underFault runs a selection while the GPU has a fault, and then ends the fault. It returns the
// exit code and the result of each case, in the order of the selection.
func (d *dut) underFault(t *testing.T, property string, value any, mode string, selection []string) string {
	t.Helper()
	if property == "fault-guc-status" { // it has an effect when the driver loads the firmware
		d.must(t.Context(), t, reloadXe)
	}
	if property != "" {
		d.fault(t, property, value)
	}
	args := selection
	if mode != "" {
		args = append([]string{mode}, selection...)
	}
	code, dir, err := d.run(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	said := fmt.Sprintf("exit %d", code)
	got := results(t, dir)
	for _, id := range selection {
		said += fmt.Sprintf(", %s %s", strings.Split(id, "::")[2], got[id])
	}
	if property != "" && property != "fault-adverse" { // adverse events are over as soon as it is set
		d.noFault(t, property, value)
	}
	d.must(t.Context(), t, reloadXe+"; modprobe xe")
	if code == flow.ExitNotRestored {
		d.recover(t, dir)
	}
	d.clean(t)
	return said
}

// noFault ends a fault that was set to value.
func (d *dut) noFault(t *testing.T, property string, value any) {
	t.Helper()
	none := any(0)
	if _, text := value.(string); text {
		none = ""
	}
	d.fault(t, property, none)
}

// resetGT makes the driver reset a GT and waits for the end of the reset.
const resetGT = "echo 1 >/sys/kernel/debug/dri/0000:00:02.0/gt0/force_reset_sync"

const reloadXe = "modprobe -r xe_vfio_pci; modprobe -r xe"
