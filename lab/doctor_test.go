//go:build lab

package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"vmtb/flow"
	"vmtb/lab"
)

// A diagnosis is an element of the JSON of "vmtb doctor --json".
type diagnosis struct{ Check, Health, Found, Remedy string }

// examine returns the results of "vmtb doctor" in the DUT, by check.
func (d *dut) examine(t *testing.T, args ...string) (code int, found map[string]diagnosis) {
	t.Helper()
	var out bytes.Buffer
	args = append(
		[]string{
			"doctor", "--json", "--vm-image", lab.GuestImage, "--vm-memory", strconv.Itoa(d.memory), "--timeout-scale",
			"5",
		}, args...,
	)
	code, err := d.Vmtb(t.Context(), args, &out)
	if err != nil {
		t.Fatal(err)
	}
	text := "\n" + out.String() // the guest's console comes before the list
	var list []diagnosis
	if err := json.Unmarshal([]byte(text[max(0, strings.Index(text, "\n[\n")):]), &list); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	found = map[string]diagnosis{}
	for _, f := range list {
		found[f.Check] = f
	}
	return code, found
}

// The doctor finds no fault in the DUT, and then each fault that the test makes.
func (d *dut) testDoctor(t *testing.T) {
	code, found := d.examine(t, "--deep")
	noBuild := map[string]bool{"lab": true, "image build": true, "in all": true} // the DUT has no mmdebstrap
	for _, f := range found {
		if f.Health != "ok" && (f.Health != "warn" || !noBuild[f.Check]) {
			t.Errorf("sound: %+v", f)
		}
	}
	if code != flow.ExitPass || len(found) < 16 {
		t.Errorf("sound: exit code %d, %d checks", code, len(found))
	}
	numvfs := func(n string) string {
		return "for f in /sys/bus/pci/drivers/xe/*:*/sriov_numvfs; do echo " + n + " >$f; done"
	}
	for _, c := range []struct {
		name, spoil, mend string
		args              []string
		check, health     string
		says              string
	}{
		{"VFs left", numvfs("2"), numvfs("0"), nil, "vfs", "bad", "2 VFs are enabled"},
		{"no driver loaded", "modprobe -r xe-vfio-pci xe", "modprobe xe", nil, "pf", "warn", "modprobe xe"},
		{
			"no VFIO", "for f in /lib/modules/*/modules.dep.bin; do mount --bind /dev/null $f; done",
			"umount /lib/modules/*/modules.dep.bin", nil, "vfio", "bad", "neither xe-vfio-pci nor vfio-pci",
		},
		{
			"no debugfs", "umount /sys/kernel/debug", "mount -t debugfs debugfs /sys/kernel/debug", nil, "debugfs",
			"bad", "mount -t debugfs",
		},
		{"no image", "true", "true", []string{"--vm-image", "/none"}, "image", "bad", "/none"},
		{
			"a broken image", "head -c 65536 /dev/urandom >/root/bad.qcow2", "rm /root/bad.qcow2",
			[]string{"--vm-image", "/root/bad.qcow2", "--deep"},
			"guest", "bad", "must boot by itself",
		},
		{
			"no IGT", "mv /usr/local/bin/igt_runner /root/", "mv /root/igt_runner /usr/local/bin/", nil, "igt", "warn",
			"igt_runner",
		},
		{
			"no QEMU", "mv /usr/bin/qemu-system-x86_64 /root/", "mv /root/qemu-system-x86_64 /usr/bin/", nil, "qemu",
			"bad", "does not run",
		},
		{
			"a bad kernel log", "echo '<3>BUG: unable to handle page fault for address: 0' >/dev/kmsg",
			"dmesg -c >/dev/null", nil, "kernel log", "warn", "page fault",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.must(t.Context(), t, c.spoil)
			code, found := d.examine(t, c.args...)
			d.must(context.WithoutCancel(t.Context()), t, c.mend)
			f := found[c.check]
			if f.Health != c.health || !strings.Contains(f.Found+f.Remedy, c.says) {
				t.Errorf("%+v, want %s with %q", f, c.health, c.says)
			}
			if want := map[string]int{"bad": flow.ExitError, "warn": flow.ExitPass}[c.health]; code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
		})
	}
	d.clean(t)
}
