package vmtb

import (
	"context"
	"strings"

	"vmtb/imagebuild"
)

// gpuChecks are the checks that make sense only where a GPU is.
var gpuChecks = map[string]bool{
	"iommu": true, "pf": true, "vfs": true, "mmio": true, "debugfs": true, "vfio": true, "memlock": true, "igt": true,
}

// checkGPU looks for a display controller of Intel's among the PCI functions, with whatever driver. In the lab a network
// card may stand in for a GPU: the emulated machine's DMI product says where it is.
func checkGPU(_ context.Context, p *patient) diagnosis {
	const devices = "/sys/bus/pci/devices"
	entries, _ := p.host.System.ReadDir(devices) // a machine without PCI has no such directory, and no GPU
	var found []string
	for _, e := range entries {
		dir := devices + "/" + e.Name()
		if p.text(dir+"/vendor") == "0x8086" && strings.HasPrefix(p.text(dir+"/class"), "0x03") { // PCI_BASE_CLASS_DISPLAY
			found = append(found, e.Name())
		}
	}
	if product := p.text("/sys/class/dmi/id/product_name"); len(found) == 0 && strings.HasPrefix(product, "vmtb lab") {
		return fine("a stand-in for one (%s)", product)
	}
	p.noGPU = len(found) == 0
	if p.noGPU {
		return bad(`"vmtb lab run" runs flows in an emulated machine and needs no GPU; "vmtb run" needs one`, "this machine has no Intel GPU")
	}
	return fine("%s", strings.Join(found, ", "))
}

// checkVM says whether "vmtb vm" works here.
func checkVM(_ context.Context, p *patient) diagnosis {
	return p.wouldWork(p.noQEMU)
}

// checkLab says whether "vmtb lab" works here.
func checkLab(ctx context.Context, p *patient) diagnosis {
	return p.wouldWork(append(p.noQEMU, p.noImages(ctx)...))
}

// checkImageBuild says whether "vmtb image build" works here.
func checkImageBuild(ctx context.Context, p *patient) diagnosis {
	return p.wouldWork(p.noImages(ctx))
}

// wouldWork is a warning with all of obstacles and their remedies. Root is asked for first.
func (p *patient) wouldWork(obstacles []diagnosis) diagnosis {
	if p.euid != 0 {
		obstacles = append([]diagnosis{bad("run as root", "only root may do this")}, obstacles...)
	}
	if len(obstacles) == 0 {
		return fine("would work here")
	}
	var found, remedies []string
	for _, o := range obstacles {
		found, remedies = append(found, o.Found), append(remedies, o.Remedy)
	}
	return warn(strings.Join(remedies, "\n"), "would not work here: %s", strings.Join(found, "\n"))
}

// noImages are the reasons why images cannot be built here.
func (p *patient) noImages(ctx context.Context) []diagnosis {
	var list []diagnosis
	for _, err := range p.missing(ctx) {
		list = append(list, failed(err))
	}
	return list
}

// missingHere is what building images lacks on this machine.
func missingHere(ctx context.Context) []error {
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	dir, err := imagebuild.CacheDir()
	if err != nil {
		return []error{err}
	}
	return imagebuild.Missing(ctx, dir)
}
