package host

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"vmtb/bench"
)

// Describe returns a line that names the host for a report: name, kernel, product. The product
// shows whether the host is the lab: the lab's firmware tables say so (package lab).
func (h *Host) Describe() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	parts := []string{name}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		parts = append(parts, "Linux "+unix.ByteSliceToString(u.Release[:]))
	}
	if p := h.product(); p != "" {
		parts = append(parts, p)
	}
	return strings.Join(parts, ", ")
}

// product returns the machine's name in the firmware tables, or "" if the machine has no DMI.
func (h *Host) product() string {
	text, err := h.System.ReadFile("/sys/class/dmi/id/product_name")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// InLab reports whether the host is the emulated machine under test of "vmtb lab".
func (h *Host) InLab() bool { return strings.HasPrefix(h.product(), bench.LabProduct) }
