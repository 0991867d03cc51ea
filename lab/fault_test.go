//go:build lab

package lab_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmtb/flow"
	"vmtb/lab"
)

// TestFaults: what the real driver does when the GPU fails is told as what it is, and the host is put back.
func TestFaults(t *testing.T) {
	t.Parallel()
	d := start(t)
	const (
		quick  = "xe_provisioning::TestSchedulingOnly::test_release[1VF]"
		reload = "modprobe -r xe_vfio_pci; modprobe -r xe"
	)
	for _, c := range []struct {
		name, property string
		value          any
		before         string // in the DUT
		selection      string
		code           int
		says           []string
		logs           string // what the kernel of the DUT says
	}{
		{
			name: "firmware does not start", property: "fault-guc-status", value: 0x7100, before: reload,
			selection: quick,
			code:      flow.ExitError, says: []string{"has brought up no GPU", "illegal init/ADS data"},
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
		{ // the driver gives up and goes on
			name: "an FLR that never ends", property: "fault-flr-stuck", value: 1 << 1, selection: quick,
			code: flow.ExitPass, says: []string{"DMESG-WARN", "(-ETIMEDOUT) (vf-troub"}, logs: "VF1 FLR didn't finish",
		},
		{ // one GT has taken the new quantum, and the other one takes nothing any more, until the driver is loaded anew
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
			none := any(0)
			if _, text := c.value.(string); text {
				none = ""
			}
			d.fault(t, c.property, none)
			d.must(t.Context(), t, "dmesg >"+filepath.Join(d.dir, "dmesg"))
			log, err := os.ReadFile(filepath.Join(d.dir, "dmesg"))
			if err != nil || !strings.Contains(string(log), c.logs) {
				t.Errorf("the kernel does not say %q: %v\n%s", c.logs, err, log)
			}
			d.must(t.Context(), t, reload+"; modprobe xe")
			if c.code == flow.ExitNotRestored {
				d.recover(t, dir)
			}
			d.clean(t)
		})
	}
}
