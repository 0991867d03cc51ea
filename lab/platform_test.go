package lab

import (
	"strings"
	"testing"
)

func TestGPU(t *testing.T) {
	for _, g := range append(GPUs, "") {
		if err := g.Check(); err != nil {
			t.Errorf("%q: %v", g, err)
		}
	}
	if err := GPU("voodoo").Check(); err == nil || !strings.Contains(err.Error(), "voodoo") {
		t.Errorf("got %v, want an error that names the GPU", err)
	}
	devices, _, cmdline := PTL.hardware(nil)
	if len(devices) != 1 || !strings.HasPrefix(devices[0], "vmtb-gpu,") || strings.Contains(cmdline, "blacklist") {
		t.Errorf("ptl: devices %q, command line %q", devices, cmdline)
	}
	if StandIn.Real() || !PTL.Real() {
		t.Error("the real driver drives ptl, and not the stand-in")
	}
}

// QEMU gets properties unchanged, with any characters. Some properties exist only on an emulated
// GPU.
func TestProperties(t *testing.T) {
	for _, c := range []struct {
		properties []string
		want       string
	}{
		{nil, "vmtb-gpu,id=gpu0,vfs=7,addr=2,platform=ptl,gts=2"},
		{
			[]string{"fault-h2g=1:1:fail,2:1:drop", "gts=1"},
			"vmtb-gpu,id=gpu0,vfs=7,addr=2,platform=ptl,fault-h2g=1:1:fail,,2:1:drop,gts=1",
		},
	} {
		if devices, _, _ := PTL.hardware(c.properties); len(devices) != 1 || devices[0] != c.want {
			t.Errorf("devices %q, want %q", devices, c.want)
		}
	}
	if err := PTL.CheckProperties([]string{"fault-kill-work=2", "x=a=b"}); err != nil {
		t.Error(err)
	}
	for property, want := range map[string]string{
		"gts": "want NAME=VALUE", "=2": "want NAME=VALUE", "a,b=2": "want NAME=VALUE", "gts=": "want NAME=VALUE",
	} {
		if err := PTL.CheckProperties([]string{property}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", property, err, want)
		}
	}
	if err := StandIn.CheckProperties([]string{"gts=2"}); err == nil ||
		!strings.Contains(err.Error(), "only an emulated GPU") {
		t.Errorf("of the stand-in: %v", err)
	}
}
