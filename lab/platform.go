package lab

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"vmtb/bench"
)

// A GPU names a platform of the emulated GPU (lab/gpu), which Debian's own, unmodified xe drives.
type GPU string

const (
	// PTL is an integrated GPU like Panther Lake.
	PTL GPU = "ptl"
	// BMG is a discrete GPU like Battlemage, with local memory.
	BMG GPU = "bmg"

	// DefaultGPU is the GPU of a DUT whose [GPU] is "".
	DefaultGPU = PTL
)

// GPUs are the lab's GPUs.
var GPUs = []GPU{PTL, BMG}

// or returns g, or the default if g is "".
func (g GPU) or() GPU { return cmp.Or(g, DefaultGPU) }

// GuestMiB is a guest's memory in MiB for runs in the lab, unless the user sets another. VFIO pins
// all of it.
const GuestMiB = 256

// Check returns a [bench.UsageError] for an unknown GPU.
func (g GPU) Check() error {
	if slices.Contains(GPUs, g.or()) {
		return nil
	}
	names := make([]string, len(GPUs))
	for i, known := range GPUs {
		names[i] = string(known)
	}
	return &bench.UsageError{
		Err: fmt.Errorf("--gpu=%s: the lab has no such GPU", g), Advice: "there are " + strings.Join(names, ", "),
	}
}

// GPUDevice is QEMU's name of the emulated GPU. Its properties are those of
// /machine/peripheral/GPUDevice.
const GPUDevice = "gpu0"

// pfAddress is the slot of the emulated GPU on the root complex, where integrated GPUs are.
const pfAddress = "2"

// localMemory are the arguments of QEMU for a GPU with local memory. Its BAR 2 and those of 7 VFs are
// as large as the local memory, so q35's 32 GiB for BARs above 4 GiB are not enough.
var localMemory = []string{"-global", "q35-pcihost.pci-hole64-size=256G"}

// platformProperty begins the emulated GPU's property that says which GPU it is like.
const platformProperty = "platform="

// hardware returns the arguments of QEMU for the emulated GPU with these properties: its device,
// and extra ones.
func (g GPU) hardware(properties []string) (device string, extra []string) {
	gpu := []string{"vmtb-gpu", "id=" + GPUDevice, "vfs=7", "addr=" + pfAddress, platformProperty + string(g.or())}
	for _, p := range g.properties() {
		name, _, _ := strings.Cut(p, "=")
		if !slices.ContainsFunc(properties, func(p string) bool { return strings.HasPrefix(p, name+"=") }) {
			gpu = append(gpu, p)
		}
	}
	for _, p := range properties {
		gpu = append(gpu, strings.ReplaceAll(p, ",", ",,"))
	}
	if g == BMG {
		extra = localMemory
	}
	return strings.Join(gpu, ","), extra
}

// properties are those of the emulated GPU that the lab sets, unless the user does.
func (g GPU) properties() []string {
	if g == BMG {
		return []string{"gts=2", "vram=16G"} // as an Arc Pro B50
	}
	return []string{"gts=2"}
}

// product returns the name of the machine in the DUT's firmware tables, and so in every report made
// in it.
func (g GPU) product() string { return bench.LabProduct + ", GPU " + string(g.or()) }

// gpuProperty matches NAME=VALUE. A comma would begin another argument for QEMU, so it is doubled.
var gpuProperty = regexp.MustCompile(`^[a-z0-9-]+=.+$`)

// CheckProperties returns a [bench.UsageError] for texts that cannot be properties of the emulated
// GPU. QEMU itself checks names and values.
func CheckProperties(properties []string) error {
	for _, p := range properties {
		if !gpuProperty.MatchString(p) {
			return &bench.UsageError{
				Err:    fmt.Errorf("--gpu-property=%s: want NAME=VALUE", p),
				Advice: "lab/gpu/README.md lists the properties",
			}
		}
	}
	return nil
}
