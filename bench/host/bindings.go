package host

import (
	"errors"
	"fmt"

	"vmtb/bench"
	"vmtb/bench/pci"
)

// A Binding is a PCI function and its driver, "" for none.
type Binding struct {
	Function pci.Address
	Driver   string
}

// Bindings are the bindings of PFs, each followed by its enabled VFs in order.
type Bindings []Binding

// BindingsOf reads the bindings of pfs and their VFs from sysfs.
func BindingsOf(pfs ...*pci.Device) (Bindings, error) {
	var all Bindings
	for _, pf := range pfs {
		vfs, err := pf.VFs()
		if err != nil {
			return nil, err
		}
		for _, d := range append([]*pci.Device{pf}, vfs...) {
			all = append(all, Binding{d.Address, d.Driver()})
		}
	}
	return all, nil
}

// Same returns nil if now equals before. Otherwise it returns a [bench.HostError] that names every
// function that was added or removed, or changed its driver.
func (now Bindings) Same(before Bindings) error {
	var errs []error
	differs := func(b Binding, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s "+format, append([]any{b.Function}, args...)...))
	}
	was := map[pci.Address]string{}
	for _, b := range before {
		was[b.Function] = b.Driver
	}
	for _, b := range now {
		driver, there := was[b.Function]
		if delete(was, b.Function); !there {
			differs(b, "is new")
		} else if driver != b.Driver {
			differs(b, "has driver %q, had %q", b.Driver, driver)
		}
	}
	for _, b := range before {
		if _, gone := was[b.Function]; gone {
			differs(b, "is missing")
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &bench.HostError{Op: "compare the PCI functions with those before the sleep", Err: errors.Join(errs...)}
}
