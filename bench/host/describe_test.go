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

func TestEmulatedGPU(t *testing.T) {
	for _, c := range []struct {
		product string
		inLab   bool
		gpu     string
	}{
		{"", false, ""},
		{"Panther Lake Client Platform, GPU ptl", false, ""},
		{"vmtb lab (emulated)", true, ""},
		{"vmtb lab (emulated), GPU ptl", true, "ptl"},
	} {
		h := host.New(product{name: c.product})
		if h.InLab() != c.inLab || h.EmulatedGPU() != c.gpu {
			t.Errorf("%q: in the lab %v, GPU %q, want %v, %q", c.product, h.InLab(), h.EmulatedGPU(), c.inLab, c.gpu)
		}
		if text := h.Describe(); !strings.HasSuffix(text, c.product) {
			t.Errorf("%q: described as %q", c.product, text)
		}
	}
}
