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

// environmentTimeout bounds what a run asks about its environment.
const environmentTimeout = 10 * time.Second

// environment is what a report tells of the machine under test: what is not there, or does not answer, is left out, for
// the flows themselves find out whether they miss it.
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
	if pf, err := xe.FindPF(h.Tree(nil), pick.GPU(config.Host)); err == nil { // without a journal: nothing is changed
		add("pf", pick.DescribePF(pf))
		add("guc", firmware(text("/sys/kernel/debug/dri/"+string(pf.Address)+"/gt0/uc/guc_info")))
	}
	if info, err := os.Stat(config.Guest.OSImage); err == nil {
		add("guest image", fmt.Sprintf("%s, %d bytes, of %s", config.Guest.OSImage, info.Size(), info.ModTime().UTC().Format("2006-01-02 15:04:05 MST")))
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

// driverModule says what the host's driver is: the kernel that it is a part of, its file, its source's checksum and the taints
// that it brings. A module that was built out of the kernel's tree, or is not signed by who built the kernel, has a taint, and is
// of no kernel's version. The result is "" if the driver is not loaded.
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

// distributionBuild finds the version of a distribution's package in the version of its kernel, which Debian puts there.
var distributionBuild = regexp.MustCompile(`Debian [0-9]\S+`)

// firmware is what the driver tells of its firmware file and the version found in it, on one line.
func firmware(info string) string {
	var parts []string
	for line := range strings.Lines(info) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "firmware:") || strings.HasPrefix(line, "found") || strings.HasPrefix(line, "version:") {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, ", ")
}
