//go:build lab

package lab_test

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"

	"vmtb/lab"
)

// TestVM: machines with VFs, started by hand, stay up between commands.
func TestVM(t *testing.T) {
	t.Parallel()
	d := start(t)
	start := []string{
		"vm", "start", "--vm-image", lab.GuestImage, "--vm-memory", strconv.Itoa(d.memory), "--timeout-scale", "5",
	}

	d.says(t, 2, "there is no such VF, 0 are enabled", append(start, "--vf=1")...)
	d.says(t, 0, "", "vf", "enable", "2")
	d.says(t, 2, "there is no such VF, 2 are enabled", append(start, "--vf=3")...)
	d.says(t, 0, "gpu", append(start, "--vf=1", "gpu")...)
	d.says(t, 2, "is in use by gpu (pid ", append(start, "--vf=1", "other")...)
	d.says(t, 0, "gpu   running  yes    256 MiB", "vm", "list")
	d.says(t, 0, "gpu", "vf", "list")
	d.says(t, 2, `machine gpu is up and has VF`, "run", "--vm-image", lab.GuestImage, boot1VF)

	d.says(t, 0, "", "vm", "exec", "gpu", "modprobe", "xe")
	// The properties that both VFs share: all except their range in the GGTT.
	const self = `grep -v range /sys/kernel/debug/dri/*/gt0/vf/self_config`
	before := d.says(t, 0, "", "vm", "exec", "gpu", "--", "sh", "-c", self)
	d.says(t, 0, "", "vm", "save", "gpu", "before")
	d.says(t, 0, "", "vm", "exec", "gpu", "touch", "/tmp/after")
	d.says(t, 0, "", "vm", "restore", "gpu", "before")
	d.says(t, 1, "", "vm", "exec", "gpu", "ls", "/tmp/after")
	d.says(t, 0, "gpu moved in", "vm", "migrate", "gpu", "--vf=2")
	d.says(t, 0, ".2", "vm", "list")
	if after := d.says(t, 0, "", "vm", "exec", "gpu", "--", "sh", "-c", self); after != before {
		t.Errorf("the VF had\n%s\nand after the migration\n%s", before, after)
	}

	// VF1 is free again, and another machine gets it. Later "vm off" ends one machine, and the
	// other one ends with its keeper.
	d.says(t, 0, "other", append(start, "--warm", "--vf=1", "other")...)
	const bound = `ls /sys/bus/pci/drivers/xe | grep -c :; cat /proc/sys/kernel/random/boot_id`
	// The VF's driver is ready, and the guest has not booted.
	d.says(t, 0, "1\n7761726d-", "vm", "exec", "other", "--", "sh", "-c", bound)
	d.says(t, 0, "", "vm", "reboot", "other")
	if said := d.says(t, 0, "", "vm", "exec", "other", "cat", "/proc/sys/kernel/random/boot_id"); strings.Contains(
		said, "7761726d-",
	) {
		t.Errorf("it has rebooted, and has the id of one that has not booted: %q", said)
	}
	d.says(t, 0, "", "vm", "off", "gpu")
	d.must(
		t.Context(), t, `kill -9 $(sed -n 's/.*"keeper": \([0-9]*\).*/\1/p' /var/lib/vmtb/machines/other/machine.json)`,
	)
	d.says(t, 3, "vmtb recover restores the host", "vm", "exec", "other", "true")
	d.says(t, 0, "The host is restored", "recover")
	d.says(t, 0, "No machines", "vm", "list")
	d.clean(t)
}

// says runs vmtb in the DUT and returns its output. It must end with code, and its output must
// contain something.
func (d *dut) says(t *testing.T, code int, something string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	got, err := d.Vmtb(t.Context(), args, io.MultiWriter(&out, d.out))
	if err != nil || got != code || !strings.Contains(out.String(), something) {
		t.Fatalf("vmtb %s: exit code %d, %v, want %d and %q", strings.Join(args, " "), got, err, code, something)
	}
	return out.String()
}
