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
	if device, _ := PTL.hardware(nil); !strings.HasPrefix(device, "vmtb-gpu,") {
		t.Errorf("ptl: device %q", device)
	}
}

// QEMU gets properties unchanged, with any characters.
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
		if device, _ := PTL.hardware(c.properties); device != c.want {
			t.Errorf("device %q, want %q", device, c.want)
		}
	}
	if err := CheckProperties([]string{"fault-kill-work=2", "x=a=b"}); err != nil {
		t.Error(err)
	}
	for property, want := range map[string]string{
		"gts": "want NAME=VALUE", "=2": "want NAME=VALUE", "a,b=2": "want NAME=VALUE", "gts=": "want NAME=VALUE",
	} {
		if err := CheckProperties([]string{property}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", property, err, want)
		}
	}
}
