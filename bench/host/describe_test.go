package host_test

import (
	"os"
	"strings"
	"testing"

	"vmtb/bench/host"
)

// A product is a machine that has only the firmware's file with its name.
type product struct {
	host.System
	name string
}

func (p product) ReadFile(path string) ([]byte, error) {
	if path != "/sys/class/dmi/id/product_name" || p.name == "" {
		return nil, os.ErrNotExist
	}
	return []byte(p.name + "\n"), nil
}

func TestInLab(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "Panther Lake Client Platform, GPU ptl": false,
		"vmtb lab (emulated)": true, "vmtb lab (emulated), GPU ptl": true,
	} {
		h := host.New(product{name: name})
		if h.InLab() != want {
			t.Errorf("%q: in the lab %v, want %v", name, !want, want)
		}
		if text := h.Describe(); !strings.HasSuffix(text, name) {
			t.Errorf("%q: described as %q", name, text)
		}
	}
}
