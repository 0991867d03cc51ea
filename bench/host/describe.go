package host

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Describe is a line that names the host for a report: name, kernel, product. Nobody may take the lab for hardware:
// its firmware tables say what it is (package lab).
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
	if product, err := h.System.ReadFile("/sys/class/dmi/id/product_name"); err == nil {
		if p := strings.TrimSpace(string(product)); p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}
