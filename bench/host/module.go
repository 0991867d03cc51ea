package host

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"vmtb/bench"
	"vmtb/bench/undo"
)

// ModuleLoaded reports whether a kernel module is loaded, or built in with parameters.
func (h *Host) ModuleLoaded(name string) bool {
	_, err := h.System.Stat(undo.Module{Name: name}.Dir())
	return err == nil
}

// ModuleExists reports whether the host's kernel has a module of that name, whether it is loaded or
// not.
func (h *Host) ModuleExists(ctx context.Context, name string) (bool, error) {
	if h.ModuleLoaded(name) {
		return true, nil
	}
	r, err := h.Exec(ctx, bench.Command{Argv: []string{"modprobe", "--dry-run", "--quiet", name}})
	if err != nil {
		return false, &bench.HostError{Op: "look for module", Noun: name, Advice: withoutModprobe(err), Err: err}
	}
	return r.OK(), nil
}

// withoutModprobe returns advice if err says that a program does not exist.
func withoutModprobe(err error) string {
	if errors.Is(err, exec.ErrNotFound) {
		return "install kmod"
	}
	return ""
}

// LoadModule loads a module unless it is already loaded. Undo unloads only a module that LoadModule
// loaded. The error of a refusal contains the messages of modprobe and the kernel.
func (h *Host) LoadModule(ctx context.Context, log undo.Journal, name string, params ...string) error {
	if h.ModuleLoaded(name) {
		return nil
	}
	return log.Do(ctx, undo.Module{Name: name}, func() error {
		c := bench.Command{Argv: append([]string{"modprobe", name}, params...)}
		r, err := h.Exec(ctx, c)
		if err == nil {
			err = r.Err(c)
		}
		if err == nil {
			return nil
		}
		if said := h.kernelSaid(ctx, name); said != "" {
			err = fmt.Errorf("%w\nthe kernel said:\n%s", err, said)
		}
		return &bench.HostError{Op: "load module", Noun: name, Advice: withoutModprobe(err), Err: err}
	})
}

// kernelSaid returns the last lines of the kernel log that mention a module, or "" if the log
// cannot be read.
func (h *Host) kernelSaid(ctx context.Context, name string) string {
	r, err := h.Exec(ctx, bench.Command{Argv: []string{"dmesg"}})
	if err != nil || !r.OK() {
		return ""
	}
	word := regexp.MustCompile(`\b` + regexp.QuoteMeta(strings.ReplaceAll(name, "-", "_")) + `\b`)
	var lines []string
	for line := range strings.Lines(string(r.Stdout)) {
		if word.MatchString(strings.ReplaceAll(line, "-", "_")) {
			lines = append(lines, line)
		}
	}
	return bench.Tail([]byte(strings.Join(lines, "")), 10)
}

// LoadDrivers loads the PF driver and the VFIO driver for its VFs, and returns the VFIO driver's
// name. It prefers the vendor's variant ("xe-vfio-pci"). Otherwise it loads vfio-pci, which works
// with VFs but cannot migrate them.
func (h *Host) LoadDrivers(ctx context.Context, log undo.Journal, driver string) (vfio string, err error) {
	if err := h.LoadModule(ctx, log, driver); err != nil {
		return "", err
	}
	if vfio, err = h.VFIODriver(ctx, driver); err != nil {
		return "", err
	}
	return vfio, h.LoadModule(ctx, log, vfio)
}

// VFIODriver returns the name of the VFIO driver that [Host.LoadDrivers] loads for the VFs of
// driver. It loads nothing.
func (h *Host) VFIODriver(ctx context.Context, driver string) (string, error) {
	return h.firstModule(ctx, driver+"-vfio-pci", "vfio-pci")
}

// firstModule returns the first of names that exists as a module of the host.
func (h *Host) firstModule(ctx context.Context, names ...string) (string, error) {
	for _, name := range names {
		if ok, err := h.ModuleExists(ctx, name); err != nil || ok {
			return name, err
		}
	}
	return "", &bench.HostError{
		Op: "load module", Noun: strings.Join(names, " or "), Err: bench.ErrNotAvailable,
		Advice: "this kernel has none of them: install its extra modules",
	}
}

// CheckIOMMU returns nil if the host has a working IOMMU. Without one, no device can be assigned to
// a guest.
func (h *Host) CheckIOMMU() error {
	if groups, err := h.System.ReadDir("/sys/kernel/iommu_groups"); err == nil && len(groups) > 0 {
		return nil
	}
	advice := "boot the kernel with intel_iommu=on, and enable VT-d in the firmware's set-up"
	cmdline, err := h.System.ReadFile("/proc/cmdline")
	if err == nil && strings.Contains(string(cmdline), "intel_iommu=on") {
		advice = "intel_iommu=on is set, so VT-d is switched off in the firmware's set-up"
	}
	return &bench.HostError{
		Op: "find an IOMMU", Err: bench.ErrNotAvailable, Advice: advice,
	}
}
