package pick

import (
	"strings"
	"testing"
)

func TestMachineName(t *testing.T) {
	for args, want := range map[string]string{
		"-name vm0": "vm0", "-name guest=vm1,debug-threads=on": "vm1", "-name debug-threads=on,guest=vm2": "vm2",
		"--name vm3,process=x": "vm3",
		"-name process=x":      "", "-name": "", "": "", "-m 1 -names x": "",
	} {
		if got := machineName(append([]string{"qemu"}, strings.Fields(args)...)); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
}
