package run

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/xe"
	"vmtb/flow"
	"vmtb/internal/pick"
)

// environmentTimeout limits how long vmtb collects the environment of a run.
const environmentTimeout = 10 * time.Second

// environment returns facts about the machine under test for the report. It omits facts that are
// missing or cannot be read in time: flows check their own needs.
func environment(ctx context.Context, h *host.Host, config *bench.Config) []flow.Fact {
	ctx, cancel := context.WithTimeout(ctx, environmentTimeout)
	defer cancel()
	var facts []flow.Fact
	add := func(name, value string) {
		if value = strings.TrimSpace(value); value != "" {
			facts = append(facts, flow.Fact{Name: name, Value: value})
		}
	}
	add("uname", uname())
	text := func(path string) string {
		data, err := h.System.ReadFile(path)
		if err != nil {
			return ""
		}
		return string(data)
	}
	add("kernel command line", text("/proc/cmdline"))
	for _, f := range h.Kernel(config.Host.Driver, config.Host.Driver+"-vfio-pci").Facts() {
		add(f.Name, f.Value)
	}
	if r, err := h.Exec(ctx, bench.Command{Argv: []string{config.VM.QEMU, "--version"}}); err == nil && r.OK() {
		first, _, _ := strings.Cut(string(r.Stdout), "\n")
		add("qemu", first)
	}
	var iommus []string
	if entries, err := h.System.ReadDir("/sys/class/iommu"); err == nil {
		for _, e := range entries {
			iommus = append(iommus, e.Name())
		}
	}
	add("iommu", strings.Join(iommus, ", "))
	add("driver", driverModule(ctx, h, config.Host.Driver, text))
	// Without a journal: nothing is changed.
	if pf, err := xe.FindPF(h.Tree(nil), pick.GPU(config.Host)); err == nil {
		add("pf", pick.DescribePF(pf))
		add("guc", firmware(text("/sys/kernel/debug/dri/"+string(pf.Address)+"/gt0/uc/guc_info")))
	}
	if info, err := os.Stat(config.Guest.OSImage); err == nil {
		add(
			"guest image",
			fmt.Sprintf(
				"%s, %d bytes, of %s", config.Guest.OSImage, info.Size(),
				info.ModTime().UTC().Format("2006-01-02 15:04:05 MST"),
			),
		)
	}
	if b := config.VM.Boot; b != nil {
		add("guest boot kernel", b.Release+" of "+config.Guest.Kernel)
		add("guest boot command line", b.Cmdline)
	}
	return facts
}

func uname() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	var parts []string
	for _, field := range [][]byte{u.Sysname[:], u.Nodename[:], u.Release[:], u.Version[:], u.Machine[:]} {
		parts = append(parts, unix.ByteSliceToString(field))
	}
	return strings.Join(parts, " ")
}

// driverModule describes the host's driver: its kernel, its file, the checksum of its source, and
// its taints. A module with a taint belongs to no version of the kernel: it was built outside the
// kernel's tree, or is not signed by the kernel's builder. The result is "" if the driver is not
// loaded.
func driverModule(ctx context.Context, h *host.Host, name string, text func(path string) string) string {
	dir := "/sys/module/" + strings.ReplaceAll(name, "-", "_")
	if _, err := h.System.ReadDir(dir); err != nil {
		return ""
	}
	kernel := "Linux " + strings.TrimSpace(text("/proc/sys/kernel/osrelease"))
	if build := distributionBuild.FindString(text("/proc/sys/kernel/version")); build != "" {
		kernel += " (" + build + ")"
	}
	taint := strings.TrimSpace(text(dir + "/taint"))
	parts := []string{name + " of " + kernel}
	if taint != "" {
		parts[0] = name + ", not that of the kernel package, on " + kernel
	}
	if r, err := h.Exec(ctx, bench.Command{Argv: []string{"modinfo", "-n", name}}); err == nil && r.OK() {
		parts = append(parts, strings.TrimSpace(string(r.Stdout)))
	}
	if version := strings.TrimSpace(text(dir + "/srcversion")); version != "" {
		parts = append(parts, "srcversion "+version)
	}
	if taint != "" {
		parts = append(parts, "taints the kernel: "+taint)
	}
	return strings.Join(parts, ", ")
}

// distributionBuild matches the version of Debian's kernel package in the kernel's version string.
var distributionBuild = regexp.MustCompile(`Debian [0-9]\S+`)

// firmware returns the firmware file and its version, from the driver's info, on one line.
func firmware(info string) string {
	var parts []string
	for line := range strings.Lines(info) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "firmware:") || strings.HasPrefix(line, "found") ||
			strings.HasPrefix(line, "version:") {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, ", ")
}
