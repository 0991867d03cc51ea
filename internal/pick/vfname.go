package pick

import (
	"fmt"
	"strconv"
	"strings"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/xe"
)

// A VFName is a user's name for VFs of a PF: a number, an address, or "all" for all enabled VFs.
type VFName struct {
	n       int
	address pci.Address
	all     bool
}

// ParseVF parses a number ("1", "VF1"), a PCI address, or "all".
func ParseVF(text string) (VFName, error) {
	lower := strings.ToLower(text)
	if lower == "all" {
		return VFName{all: true}, nil
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(lower, "vf")); err == nil && n > 0 {
		return VFName{n: n}, nil
	}
	if address, err := pci.Parse(text); err == nil {
		return VFName{address: address}, nil
	}
	return VFName{}, &bench.UsageError{
		Err: fmt.Errorf("%q is not a VF", text), Advice: "like 1, VF1 or 0000:03:00.1; vmtb vf list shows them",
	}
}

// ParseOneVF is [ParseVF] without "all".
func ParseOneVF(text string) (VFName, error) {
	name, err := ParseVF(text)
	if err == nil && name.all {
		err = &bench.UsageError{Err: fmt.Errorf("%q: want one VF", text), Advice: "like 1, VF1 or 0000:03:00.1"}
	}
	return name, err
}

// All reports whether the name is "all".
func (v VFName) All() bool { return v.all }

// Numbers returns the numbers of the VFs. A VF named by its number need not be enabled.
func (v VFName) Numbers(pf *xe.PF) ([]int, error) {
	if !v.all && v.n > 0 {
		return []int{v.n}, pf.CheckVF(v.n)
	}
	vfs, err := pf.VFs()
	if err != nil {
		return nil, err
	}
	if v.all && len(vfs) > 0 {
		return FirstVFs(len(vfs)), nil
	}
	for i, vf := range vfs {
		if vf.Address == v.address {
			return []int{i + 1}, nil
		}
	}
	if v.all {
		return nil, &bench.UsageError{
			Err:    fmt.Errorf("no VFs of %s are enabled", pf.Address),
			Advice: "vmtb vf enable enables them; or give the number of a VF",
		}
	}
	return nil, notEnabled(pf, string(v.address))
}

// FirstVFs returns the numbers 1 to n.
func FirstVFs(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i + 1
	}
	return list
}

// Enabled returns the number and the device of the single named VF. The VF must be enabled.
func (v VFName) Enabled(pf *xe.PF) (n int, d *pci.Device, err error) {
	list, err := v.Numbers(pf)
	if err != nil {
		return 0, nil, err
	}
	if d, err = pf.VF(list[0]); err != nil {
		return 0, nil, notEnabled(pf, fmt.Sprintf("VF%d", list[0]))
	}
	return list[0], d, nil
}

func notEnabled(pf *xe.PF, what string) error {
	n, err := pf.NumVFs()
	if err != nil {
		return err
	}
	return &bench.UsageError{
		Err:    fmt.Errorf("%s: there is no such VF, %d are enabled", what, n),
		Advice: "vmtb vf list shows them, vmtb vf enable enables some",
	}
}

// IsVFIO reports whether a driver gives VFs to user space, such as QEMU.
func IsVFIO(driver string) bool { return strings.HasSuffix(driver, "vfio-pci") }
