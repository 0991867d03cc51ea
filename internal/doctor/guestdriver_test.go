package doctor

import (
	"context"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/internal/fake/fakehost"
)

// A saying is a machine with a fixed output for each command line. Every other command fails.
type saying struct {
	bench.Machine
	programs map[string]string
}

func (s saying) Exec(_ context.Context, c bench.Command) (bench.Result, error) {
	out, ok := s.programs[strings.Join(c.Argv, " ")]
	if !ok {
		return bench.Result{ExitCode: 1}, nil
	}
	return bench.Result{Stdout: []byte(out)}, nil
}

// Output of modinfo for Debian's kernels, without the lines that do not matter.
const (
	oldXe = "alias:          pci:v00008086d0000E20Bsv*sd*bc03sc*i*\nparm:           max_vfs:Limit number of Virtual " +
		"Functions (VFs) that could be managed. (0 = no VFs [default]; N = allow up to N VFs) (uint)\n"
	newXe = "alias:          pci:v00008086d0000E20Bsv*sd*bc03sc*i*\nparm:           max_vfs:Limit number of Virtual " +
		"Functions (VFs) that could be managed. (0=no VFs; N=allow up to N VFs [default=unlimited]) (uint)\n"
)

// TestLookForDriver: xe in an image's kernel is not enough. It must be able to drive VFs of this
// GPU.
func TestLookForDriver(t *testing.T) {
	gpu := func(device uint16) fakehost.Options {
		o := fakehost.BMG()
		o.Device, o.Loaded = device, []string{"xe"}
		return o
	}
	noGPU := fakehost.BMG()
	for _, tt := range []struct {
		name, release, modinfo string
		host                   fakehost.Options
		status                 Status
		says                   string
	}{
		{
			"of this GPU", "7.3.4+deb13-amd64", newXe, gpu(0xe20b), OK,
			"kernel 7.3.4+deb13-amd64, and its xe supports VFs of this machine's GPU, 8086:e20b",
		},
		{"no GPU here", "7.3.4+deb13-amd64", newXe, noGPU, OK, "kernel 7.3.4+deb13-amd64, and its xe supports VFs"},
		{
			"Debian 13's own", "6.12.117-amd64", oldXe, gpu(0xe20b), Bad,
			"kernel 6.12.117-amd64: its xe does not support VFs, which needs Linux 6.17",
		},
		{"old, no GPU here", "6.12.117-amd64", oldXe, noGPU, Bad, "its xe does not support VFs"},
		{
			"another GPU", "6.17.0", newXe, gpu(0xd740), Bad,
			"kernel 6.17.0: its xe does not know this machine's GPU, 8086:d740",
		},
		{
			"a driver of one's own", "6.12.117-amd64", "filename: /lib/modules/xe.ko\n", gpu(0xe20b), OK,
			"its xe supports VFs of",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := &Target{host: host.New(fakehost.New(tt.host)), Options: Options{Config: bench.DefaultConfig()}}
			d := checkGuestDriver(
				t.Context(), target,
				saying{programs: map[string]string{"uname -r": tt.release + "\n", "modinfo xe": tt.modinfo}},
			)
			if d.Status != tt.status || !strings.Contains(d.Found, tt.says) || (d.Status == Bad) != (d.Remedy != "") {
				t.Errorf("got %v %q (%q), want %v %q", d.Status, d.Found, d.Remedy, tt.status, tt.says)
			}
		})
	}
	target := &Target{host: host.New(fakehost.New(noGPU)), Options: Options{Config: bench.DefaultConfig()}}
	if d := checkGuestDriver(t.Context(), target, saying{}); d.Status != Bad ||
		!strings.Contains(d.Found, "has no driver xe") {
		t.Errorf("without a driver: %v %q", d.Status, d.Found)
	}
}
