package pci

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"syscall"
	"time"

	"vmtb/bench"
	"vmtb/bench/sysfs"
	"vmtb/bench/undo"
	"vmtb/internal/prose"
)

// A Device is a PCI function in sysfs.
type Device struct {
	Address
	tree *sysfs.Tree
}

// At returns the device with address a. It does not check whether the device exists.
func At(t *sysfs.Tree, a Address) *Device { return &Device{a, t} }

// IDs are the vendor and device id, which drivers match on.
type IDs struct{ Vendor, Device uint16 }

func (i IDs) String() string { return fmt.Sprintf("%04x:%04x", i.Vendor, i.Device) }

// IDs reads the vendor and device id.
func (d *Device) IDs() (IDs, error) {
	vendor, err := d.tree.Uint(d.Dir() + "/vendor")
	if err != nil {
		return IDs{}, err
	}
	device, err := d.tree.Uint(d.Dir() + "/device")
	return IDs{uint16(vendor), uint16(device)}, err
}

// Driver returns the name of the bound driver, or "" if there is none.
func (d *Device) Driver() string { return undo.DriverOf(d.tree.FS, d.Dir()) }

// IsVF reports whether the device is a Virtual Function.
func (d *Device) IsVF() bool { return d.tree.Exists(d.Dir() + "/physfn") }

// IOMMUGroup returns the number of the device's IOMMU group. Without a group (no IOMMU, or switched
// off) the error matches [bench.ErrNotAvailable].
func (d *Device) IOMMUGroup() (int, error) {
	link, err := d.tree.FS.Readlink(d.Dir() + "/iommu_group")
	if err != nil {
		return 0, &bench.HostError{
			Op: "find the IOMMU group of", Noun: string(d.Address), Err: bench.ErrNotAvailable,
			Advice: "switch on VT-d (AMD-Vi) in the firmware and boot with intel_iommu=on",
		}
	}
	return strconv.Atoi(path.Base(link))
}

// Reset does a Function Level Reset, or the reset that reset_method names. It cannot be undone and
// is not recorded. Reset refuses to reset a PF with VFs: the kernel would do it, and take the VFs
// away from their users.
func (d *Device) Reset(ctx context.Context) error {
	if n, err := d.NumVFs(); err == nil && n > 0 {
		return &bench.HostError{
			Op: "reset", Noun: string(d.Address),
			Err:    fmt.Errorf("it has %s enabled: %w", prose.Count(n, "VF"), syscall.EBUSY),
			Advice: "disable them first: the reset would remove VFs in use",
		}
	}
	return d.tree.Write(ctx, d.Dir()+"/reset", "1")
}

// bindTime is how long to wait until a device shows its new driver.
const bindTime = 10 * time.Second

// Bind binds the device to driver with driver_override and drivers_probe. It unbinds the former
// driver first. Then it checks that the device is bound and has an IOMMU group. Undo binds the
// former driver again.
func (d *Device) Bind(ctx context.Context, driver string) error {
	override, err := d.tree.Text(d.Dir() + "/driver_override")
	if err != nil {
		return err
	}
	r := undo.Binding{Device: d.Dir(), Driver: driver, OldDriver: d.Driver(), OldOverride: override}
	if r.OldDriver == driver && override == driver {
		return nil
	}
	return d.tree.Log.Do(ctx, r, func() error { return d.rebind(ctx, driver) })
}

// Unbind unbinds the device's driver, and prevents that another one binds by itself. The change is
// recorded.
func (d *Device) Unbind(ctx context.Context) error {
	override, err := d.tree.Text(d.Dir() + "/driver_override")
	if err != nil {
		return err
	}
	r := undo.Binding{Device: d.Dir(), OldDriver: d.Driver(), OldOverride: override}
	if r.OldDriver == "" && override == "" {
		return nil
	}
	return d.tree.Log.Do(ctx, r, func() error {
		if override != "" {
			// Only a line end clears an override: an empty write never reaches the kernel's
			// handler.
			if err := d.tree.Write(ctx, d.Dir()+"/driver_override", "\n"); err != nil {
				return err
			}
		}
		if r.OldDriver == "" {
			return nil
		}
		return d.tree.Write(ctx, d.Dir()+"/driver/unbind", string(d.Address))
	})
}

func (d *Device) rebind(ctx context.Context, driver string) error {
	if err := d.tree.Write(ctx, d.Dir()+"/driver_override", driver); err != nil {
		return err
	}
	if old := d.Driver(); old != "" && old != driver {
		if err := d.tree.Write(ctx, d.Dir()+"/driver/unbind", string(d.Address)); err != nil {
			return err
		}
	}
	if err := d.tree.Write(ctx, "/sys/bus/pci/drivers_probe", string(d.Address)); err != nil {
		return err
	}
	err := sysfs.Poll(ctx, bindTime, "bound driver", func() (bool, error) { return d.Driver() != "", nil })
	if now := d.Driver(); now != driver {
		return d.notBound(driver, now, err)
	}
	_, err = d.IOMMUGroup()
	return err
}

func (d *Device) notBound(driver, now string, err error) error {
	if now != "" {
		err = fmt.Errorf("%s is bound instead", now)
	}
	advice := "dmesg has the messages of " + driver
	if !d.tree.Exists("/sys/bus/pci/drivers/" + driver) {
		advice = "the driver is not loaded"
	}
	return &bench.HostError{Op: "have " + driver + " bind", Noun: string(d.Address), Err: err, Advice: advice}
}
