package procfs

import (
	"strings"
	"testing"
)

func TestMachineID(t *testing.T) {
	const id = "3d1219c7c4c5404aaa1f6d2a48adfda4"
	a, b := machineID(id+"\n"), machineID(strings.Replace(id, "3", "4", 1))
	if len(a) != 32 || a == b || a != machineID(id) || strings.Contains(a, id) {
		t.Errorf("%q and %q", a, b)
	}
	for _, none := range []string{"", "\n", "uninitialized\n"} {
		if got := machineID(none); got != "" {
			t.Errorf("%q is taken for the id of a machine: %q", none, got)
		}
	}
}
