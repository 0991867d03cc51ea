package xe

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"vmtb/bench"
	"vmtb/bench/pci"
)

// DriverBound returns the PCI devices that a driver has bound on a machine, host or guest. If the
// driver is not loaded, it returns none.
func DriverBound(ctx context.Context, m bench.Machine, driver string) ([]pci.Address, error) {
	module := strings.ReplaceAll(driver, "-", "_")
	entries, err := m.ReadDir(ctx, "/sys/module/"+module+"/drivers/pci:"+driver)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []pci.Address
	for _, e := range entries {
		if a, err := pci.Parse(e.Name); err == nil {
			list = append(list, a)
		}
	}
	return list, nil
}

// CheckDriver returns a [bench.GuestError] unless the driver has bound at least one device on a
// machine.
func CheckDriver(ctx context.Context, m bench.Machine, driver string) error {
	bound, err := DriverBound(ctx, m, driver)
	if err == nil && len(bound) == 0 {
		err = errors.New("no device is bound to it")
	}
	if err != nil {
		return &bench.GuestError{Machine: m.String(), Op: "find driver " + driver, Err: err}
	}
	return nil
}
