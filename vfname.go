package vmtb

import (
	"fmt"
	"strconv"
	"strings"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/xe"
)

// A vfName is how a user names VFs of a PF: by number, by address, or all that are enabled.
type vfName struct {
	n       int
	address pci.Address
	all     bool
}

func parseVF(text string) (vfName, error) {
	lower := strings.ToLower(text)
	if lower == "all" {
		return vfName{all: true}, nil
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(lower, "vf")); err == nil && n > 0 {
		return vfName{n: n}, nil
	}
	if address, err := pci.Parse(text); err == nil {
		return vfName{address: address}, nil
	}
	return vfName{}, &bench.UsageError{Err: fmt.Errorf("%q names no VF", text), Advice: "like 1, VF1 or 0000:03:00.1; vmtb vf list shows them"}
}

// parseOneVF is [parseVF] for what is done to one VF at a time.
func parseOneVF(text string) (vfName, error) {
	name, err := parseVF(text)
	if err == nil && name.all {
		err = &bench.UsageError{Err: fmt.Errorf("%q: one VF at a time", text), Advice: "like 1, VF1 or 0000:03:00.1"}
	}
	return name, err
}

// numbers are the VFs that are meant. A VF that is named by its number need not be enabled.
func (v vfName) numbers(pf *xe.PF) ([]int, error) {
	if !v.all && v.n > 0 {
		return []int{v.n}, pf.CheckVF(v.n)
	}
	vfs, err := pf.VFs()
	if err != nil {
		return nil, err
	}
	if v.all && len(vfs) > 0 {
		return numbers(len(vfs)), nil
	}
	for i, vf := range vfs {
		if vf.Address == v.address {
			return []int{i + 1}, nil
		}
	}
	if v.all {
		return nil, &bench.UsageError{Err: fmt.Errorf("no VFs of %s are enabled", pf.Address), Advice: "vmtb vf enable does that; or name a VF by its number"}
	}
	return nil, notEnabled(pf, string(v.address))
}

// enabled is the one VF that is meant, which must be enabled.
func (v vfName) enabled(pf *xe.PF) (n int, d *pci.Device, err error) {
	list, err := v.numbers(pf)
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
	return &bench.UsageError{Err: fmt.Errorf("%s: there is no such VF, %d are enabled", what, n), Advice: "vmtb vf list shows them, vmtb vf enable enables some"}
}
