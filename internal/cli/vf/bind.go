package vf

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/internal/cli/env"
	"vmtb/internal/pick"
)

// bindDrivers are the drivers of this host that can drive a VF.
var bindDrivers = []string{"xe-vfio-pci", "vfio-pci", "xe"}

// checkBind returns an error if driver is not a value of --bind.
func checkBind(driver string) error {
	if driver == bindVFIO {
		return nil
	}
	return checkDriver(driver)
}

func checkDriver(driver string) error {
	if driver == bindNone || slices.Contains(bindDrivers, driver) {
		return nil
	}
	return &bench.UsageError{
		Err:    fmt.Errorf("%q is not a driver for VFs", driver),
		Advice: "there are " + strings.Join(bindDrivers, ", ") + " and none",
	}
}

// completeDriver offers the drivers for the second argument of "vmtb vf bind".
func completeDriver(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return append([]string{bindNone}, bindDrivers...), cobra.ShellCompDirectiveNoFileComp
}

type bindOptions struct {
	config *bench.Config
	vf     pick.VFName
	driver string
}

func bindCommand(e *env.Env) *cobra.Command {
	var flags env.ConfigFlags
	var o bindOptions
	cmd := &cobra.Command{
		Use:   "bind VF DRIVER",
		Short: "Give a VF to another driver of this host, or to none",
		Long: `Gives an enabled VF ("1", "VF1" or its PCI address) to a driver of this host: to xe-vfio-pci or
vfio-pci, for use by a virtual machine (only xe-vfio-pci can move a VF's state); to xe, for use as a GPU of this
host; or to none. It loads the driver if necessary, takes the VF from its present driver, and checks that the new
driver has bound it. Refused while a process uses the VF.

"vmtb vf disable" (or "vmtb recover") restores the VF's driver, and unloads the drivers that were loaded.`,
		Example: `  vmtb vf bind 1 vfio-pci
  vmtb vf bind 0000:03:00.2 none`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: completeDriver,
	}
	cmd.RunE = changeVFs(&flags, func(c *bench.Config, args []string) (err error) {
		o.config, o.driver = c, args[1]
		if o.vf, err = pick.ParseOneVF(args[0]); err == nil {
			err = checkDriver(o.driver)
		}
		return err
	}, func(ctx context.Context) error { return o.run(ctx, e) })
	flags.AddPF(cmd)
	return cmd
}

func (o *bindOptions) run(ctx context.Context, e *env.Env) error {
	return inSession(ctx, e, func(ctx context.Context, s *session) error {
		vf, err := s.unusedVF(o.config.Host, o.vf)
		if err != nil {
			return err
		}
		if o.driver == bindNone {
			return s.step(fmt.Sprintf("take %s from its driver", vf.Address), func() error { return vf.Unbind(ctx) })
		}
		return s.step(fmt.Sprintf("bind %s to %s", vf.Address, o.driver), func() error {
			if err := s.host.LoadModule(ctx, s.log, o.driver); err != nil {
				return err
			}
			return vf.Bind(ctx, o.driver)
		})
	})
}

// unusedVF returns the device of a VF. It fails if a process uses the VF.
func (s *session) unusedVF(c bench.HostConfig, name pick.VFName) (*pci.Device, error) {
	pf, err := s.findPF(c)
	if err != nil {
		return nil, err
	}
	_, vf, err := name.Enabled(pf)
	if err != nil {
		return nil, err
	}
	return vf, pick.CheckUnused(s.System, vf)
}
