package lab

import (
	"fmt"
	"slices"
	"strings"

	"vmtb/bench"
)

// A GPU names the device that the DUT has, and with it the drivers: "stand-in" or a platform of the emulated GPU.
type GPU string

const (
	// StandIn is the device of QEMU's igb, driven by the stand-ins of lab/kmod for xe and xe-vfio-pci.
	StandIn GPU = "stand-in"
	// PTL is an emulated integrated GPU like Panther Lake (lab/gpu), driven by Debian's own, unmodified xe.
	PTL GPU = "ptl"

	// DefaultGPU is the GPU of a DUT whose [GPU] is "".
	DefaultGPU = StandIn
)

// GPUs are the GPUs that the lab has.
var GPUs = []GPU{StandIn, PTL}

// or returns g, or the default if g is "".
func (g GPU) or() GPU {
	if g == "" {
		return DefaultGPU
	}
	return g
}

// Real reports whether the real xe driver drives g.
func (g GPU) Real() bool { return g.or() != StandIn }

// GuestMiB returns the memory in MiB that a run in the lab gives a guest unless the user says otherwise. VFIO pins all of it.
// Linux 7.3 with the real xe and IGT's own programs takes more than the stand-ins.
func (g GPU) GuestMiB() int {
	if g.Real() {
		return 512
	}
	return 256
}

// Check refuses a GPU that the lab does not have, with a [bench.UsageError].
func (g GPU) Check() error {
	if slices.Contains(GPUs, g.or()) {
		return nil
	}
	names := make([]string, len(GPUs))
	for i, known := range GPUs {
		names[i] = string(known)
	}
	return &bench.UsageError{Err: fmt.Errorf("--gpu=%s: the lab has no such GPU", g), Advice: "there are " + strings.Join(names, ", ")}
}

// pfAddress is the slot of the emulated GPU on the root complex, where integrated GPUs are.
const pfAddress = "2"

// hardware returns what depends on the GPU: QEMU's arguments and the kernel's.
func (g GPU) hardware() (devices, extra []string, cmdline string) {
	if g.Real() {
		return []string{"vmtb-gpu,id=gpu0,vfs=7,addr=" + pfAddress}, nil, ""
	}
	devices = []string{"pcie-root-port,id=pf-port,chassis=9,slot=9", "igb,bus=pf-port,netdev=pf-net"}
	return devices, []string{"-netdev", "hubport,id=pf-net,hubid=0"}, " module_blacklist=igb,igbvf"
}

// product returns how the DUT's firmware tables call the machine, and so every report made in it.
func (g GPU) product() string {
	if g.Real() {
		return product + ", GPU " + string(g.or())
	}
	return product
}
