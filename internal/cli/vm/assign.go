package vm

import (
	"fmt"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/pci"
	"vmtb/bench/vm"
	"vmtb/bench/vm/assigned"
	"vmtb/bench/xe"
	"vmtb/internal/cli/env"
	"vmtb/internal/pick"
)

// assign sets *to to the VFs with these names, numbers or addresses. Each must be enabled, have a
// VFIO driver, and be unused. assign holds the lock of the host until unlock is called, so that no
// run gives the VFs to its own machines.
func assign(e *env.Env, to *[]vm.VF, config *bench.Config, names []string) (unlock func(), err error) {
	if *to = nil; len(names) == 0 {
		return func() {}, nil
	}
	unlock, err = host.Lock(e.State.LockFile)
	if err != nil {
		return nil, err
	}
	if *to, err = assignable(e, config, names); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

func assignable(e *env.Env, config *bench.Config, names []string) ([]vm.VF, error) {
	h := host.New(e.System)
	if err := h.CheckIOMMU(); err != nil {
		return nil, err
	}
	// Without a journal: nothing is changed.
	pf, err := xe.FindPF(h.Tree(nil), pick.GPU(config.Host))
	if err != nil {
		return nil, err
	}
	vfs := make([]vm.VF, len(names))
	for i, text := range names {
		name, err := pick.ParseOneVF(text)
		if err != nil {
			return nil, err
		}
		n, device, err := name.Enabled(pf)
		if err != nil {
			return nil, err
		}
		if vfs[i], err = assignOne(e, pf, n, device); err != nil {
			return nil, err
		}
	}
	return vfs, nil
}

func assignOne(e *env.Env, pf *xe.PF, n int, d *pci.Device) (vm.VF, error) {
	driver := d.Driver()
	if !pick.IsVFIO(driver) {
		return vm.VF{}, &bench.UsageError{
			Err: fmt.Errorf(
				"VF%d (%s) has driver %s: a machine can use it only through a VFIO driver", n, d.Address,
				env.OrDash(driver),
			),
			Advice: fmt.Sprintf("vmtb vf bind %d vfio-pci, or the vendor's VFIO driver", n),
		}
	}
	if u := pick.UserOf(e.System, d); u != nil {
		return vm.VF{}, &bench.UsageError{Err: fmt.Errorf("VF%d (%s) is in use by %s", n, d.Address, u)}
	}
	vf, err := assigned.VF(pf, n, d, driver)
	if err != nil {
		return vm.VF{}, err
	}
	vf.WindowMiB, err = pf.VFWindow()
	return vf, err
}
