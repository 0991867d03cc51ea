package doctor

import (
	"context"
	"strings"

	"vmtb/imagebuild"
)

// gpuChecks are the checks that apply only to a machine with a GPU.
var gpuChecks = map[string]bool{
	"iommu": true, "pf": true, "vfs": true, "mmio": true, "debugfs": true, "vfio": true, "memlock": true, "igt": true,
}

// checkGPU looks for an Intel display controller among the PCI functions, with any driver.
func checkGPU(_ context.Context, t *Target) Result {
	found := t.intelGPUs()
	t.noGPU = len(found) == 0
	if t.noGPU {
		return bad(
			`"vmtb lab run" runs flows in an emulated machine, and needs no GPU; "vmtb run" needs a GPU`,
			"this machine has no Intel GPU",
		)
	}
	return good("%s", strings.Join(found, ", "))
}

// intelGPUs returns the PCI addresses of Intel's display controllers, with any drivers.
func (t *Target) intelGPUs() (found []string) {
	const devices = "/sys/bus/pci/devices"
	// A machine without PCI has no such directory, and no GPU.
	entries, _ := t.host.System.ReadDir(devices)
	for _, e := range entries {
		dir := devices + "/" + e.Name()
		// PCI_BASE_CLASS_DISPLAY
		if t.text(dir+"/vendor") == "0x8086" && strings.HasPrefix(t.text(dir+"/class"), "0x03") {
			found = append(found, e.Name())
		}
	}
	return found
}

// checkVM checks that "vmtb vm" would work here.
func checkVM(_ context.Context, t *Target) Result {
	return t.wouldWork(t.noQEMU)
}

// checkLab checks that "vmtb lab" would work here.
func checkLab(ctx context.Context, t *Target) Result {
	return t.wouldWork(append(t.noQEMU, t.noImages(ctx)...))
}

// checkImageBuild checks that "vmtb image build" would work here.
func checkImageBuild(ctx context.Context, t *Target) Result {
	return t.wouldWork(t.noImages(ctx))
}

// wouldWork returns a warning with all obstacles and their remedies, root first. Without obstacles
// it returns a good result.
func (t *Target) wouldWork(obstacles []Result) Result {
	if t.euid != 0 {
		obstacles = append([]Result{bad("run as root", "only root may do this")}, obstacles...)
	}
	if len(obstacles) == 0 {
		return good("would work here")
	}
	var found, remedies []string
	for _, o := range obstacles {
		found, remedies = append(found, o.Found), append(remedies, o.Remedy)
	}
	return warn(strings.Join(remedies, "\n"), "would not work here: %s", strings.Join(found, "\n"))
}

// noImages returns the reasons why images cannot be built here.
func (t *Target) noImages(ctx context.Context) []Result {
	var list []Result
	for _, err := range t.missing(ctx) {
		list = append(list, fromError(err))
	}
	return list
}

// missingForImages returns an error for each thing that this machine lacks for building images.
func missingForImages(ctx context.Context) []error {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	dir, err := imagebuild.CacheDir()
	if err != nil {
		return []error{err}
	}
	return imagebuild.Missing(ctx, dir)
}
