package bench

import (
	"fmt"
	"strconv"
	"strings"
)

// A PCIAddress (BDF) names a PCI function in the format of sysfs: "0000:03:00.0", "10000:e1:00.0".
// It is domain:bus:slot.function in lower-case hexadecimal digits; the domain has four digits or
// more.
type PCIAddress string

// ParsePCIAddress parses an address. The domain may be missing (it is 0 then), digits may be
// upper-case, and leading zeros may be missing.
func ParsePCIAddress(s string) (PCIAddress, error) {
	head, function, ok := cutLast(s, ".")
	head, slot, ok2 := cutLast(head, ":")
	domain, bus, ok3 := cutLast(head, ":")
	if !ok || !ok2 {
		return "", fmt.Errorf("PCI address %q: not of the form 0000:03:00.0", s)
	}
	if !ok3 {
		domain, bus = "0", head
	}
	var n [4]uint64
	for i, f := range []struct {
		name, text string
		most       uint64
	}{{"domain", domain, 0xffffffff}, {"bus", bus, 0xff}, {"slot", slot, 0x1f}, {"function", function, 7}} {
		v, err := strconv.ParseUint(f.text, 16, 32)
		if err != nil || v > f.most {
			return "", fmt.Errorf(
				"PCI address %q: %s %q is not a hexadecimal number up to %x", s, f.name, f.text, f.most,
			)
		}
		n[i] = v
	}
	return PCIAddress(fmt.Sprintf("%04x:%02x:%02x.%x", n[0], n[1], n[2], n[3])), nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// MarshalText implements [encoding.TextMarshaler].
func (a PCIAddress) MarshalText() ([]byte, error) { return []byte(a), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. An empty text gives an empty address.
func (a *PCIAddress) UnmarshalText(text []byte) (err error) {
	if *a = ""; len(text) > 0 {
		*a, err = ParsePCIAddress(string(text))
	}
	return err
}

// Dir returns the device's directory in sysfs.
func (a PCIAddress) Dir() string { return "/sys/bus/pci/devices/" + string(a) }
