package undo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"syscall"
)

// A Record is a change of the host, as data that survives a round trip through JSON. Undo takes the
// change back, as the package comment describes. It may be called any number of times, with a
// context that has its own deadline.
type Record interface {
	fmt.Stringer    // the change, for people: `/sys/…/sriov_numvfs changed from "0" to "2"`
	Undone() string // the same when it is undone: `/sys/…/sriov_numvfs changed back to "0"`
	Kind() string   // names the type in the journal, so it never changes
	Undo(ctx context.Context, sys System) error
}

// A volatile record reports whether a reboot of the host undoes its change. The changes of other
// records are undone after a reboot, too.
type volatile interface{ Volatile() bool }

// A Write is a value written to a sysfs or debugfs file.
type Write struct {
	Path string `json:"path"`
	// Old is the file's trimmed content before the change. Undo compares with it.
	Old string `json:"old,omitempty"`
	// New is the file's content after the change. If it is set, a third value is somebody else's,
	// and Undo leaves it alone.
	New string `json:"new,omitempty"`
	// Restore is the value to write to get Old back, if it is not Old itself (a [bracketed] choice,
	// an operation file).
	Restore string `json:"restore,omitempty"`
	// Blind marks a file that cannot be read. Undo writes Restore without looking, so writing it
	// twice must be harmless.
	Blind bool `json:"blind,omitempty"`
}

// Kind implements [Record].
func (Write) Kind() string { return "write" }

func (w Write) String() string {
	switch {
	case w.Blind:
		return fmt.Sprintf("%s changed, writing %q undoes it", w.Path, w.Restore)
	case w.New == "":
		return fmt.Sprintf("%s changed from %q", w.Path, w.Old)
	default:
		return fmt.Sprintf("%s changed from %q to %q", w.Path, w.Old, w.New)
	}
}

// Undone implements [Record].
func (w Write) Undone() string {
	if w.Blind {
		return fmt.Sprintf("%s changed by writing %q", w.Path, w.Restore)
	}
	return fmt.Sprintf("%s changed back to %q", w.Path, cmp.Or(w.Restore, w.Old))
}

// Volatile reports whether the file is the kernel's, not one on a disk.
func (w Write) Volatile() bool {
	return strings.HasPrefix(w.Path, "/sys/") || strings.HasPrefix(w.Path, "/proc/")
}

// Undo implements [Record].
func (w Write) Undo(_ context.Context, sys System) error {
	if w.Blind {
		return ignoreGone(sys.WriteFile(w.Path, []byte(w.Restore)))
	}
	now, err := readText(sys, w.Path)
	switch {
	case targetGone(err), err == nil && now == w.Old:
		return nil
	case err == nil && w.New != "" && now != w.New:
		return fmt.Errorf("%s is %q, not the %q that we wrote: %w", w.Path, now, w.New, ErrNotOurs)
	}
	// A file that cannot be read is written all the same: sysfs returns no value while the GTs of a
	// GPU differ.
	if err := sys.WriteFile(w.Path, []byte(cmp.Or(w.Restore, w.Old))); err != nil {
		return ignoreGone(err)
	}
	if now, err = readText(sys, w.Path); err == nil && now != w.Old {
		return fmt.Errorf("%s is still %q, not %q", w.Path, now, w.Old)
	}
	return ignoreGone(err)
}

// A Binding is a PCI device that was bound to another driver through driver_override, or unbound.
type Binding struct {
	Device string `json:"device"` // its directory in /sys/bus/pci/devices
	// The new driver, also written to driver_override; "" is none.
	Driver      string `json:"driver"`
	OldDriver   string `json:"old_driver,omitempty"`   // "" is none
	OldOverride string `json:"old_override,omitempty"` // "" is none
}

// Kind implements [Record].
func (Binding) Kind() string { return "binding" }

func (b Binding) String() string {
	return fmt.Sprintf(
		"driver of %s changed from %s to %s", path.Base(b.Device),
		cmp.Or(b.OldDriver, "none"), cmp.Or(b.Driver, "none"),
	)
}

// Undone implements [Record].
func (b Binding) Undone() string {
	return fmt.Sprintf("driver of %s changed back to %s", path.Base(b.Device), cmp.Or(b.OldDriver, "none"))
}

// Volatile is true: after a reboot the host binds its usual drivers.
func (Binding) Volatile() bool { return true }

// Undo implements [Record]. It unbinds the new driver, restores the override, and binds the old
// driver.
func (b Binding) Undo(_ context.Context, sys System) error {
	override, err := readText(sys, b.Device+"/driver_override")
	if err != nil {
		return ignoreGone(err) // VFs vanish with sriov_numvfs
	}
	driver := DriverOf(sys, b.Device)
	if driver != "" && driver != b.Driver && driver != b.OldDriver {
		return fmt.Errorf("%s is bound to %s: %w", path.Base(b.Device), driver, ErrNotOurs)
	}
	if driver == b.Driver && driver != b.OldDriver && driver != "" {
		if err := sys.WriteFile(b.Device+"/driver/unbind", []byte(path.Base(b.Device))); err != nil {
			return ignoreGone(err)
		}
	}
	if override == b.Driver && override != b.OldOverride {
		// Only a line end clears an override: an empty write never reaches the kernel's handler.
		if err := sys.WriteFile(b.Device+"/driver_override", []byte(b.OldOverride+"\n")); err != nil {
			return ignoreGone(err)
		}
	}
	if b.OldDriver == "" || driver == b.OldDriver {
		return nil
	}
	if err := sys.WriteFile("/sys/bus/pci/drivers/"+b.OldDriver+"/bind", []byte(path.Base(b.Device))); err != nil {
		return fmt.Errorf("bind %s to %s again: %w", path.Base(b.Device), b.OldDriver, err)
	}
	return nil
}

// DriverOf returns the driver that a device's directory in sysfs links to, or "" if there is none.
func DriverOf(sys interface{ Readlink(string) (string, error) }, device string) string {
	link, err := sys.Readlink(device + "/driver")
	if err != nil {
		return ""
	}
	return path.Base(link)
}

// A Module is a kernel module that was not loaded before.
type Module struct {
	Name string `json:"name"`
}

// Kind implements [Record].
func (Module) Kind() string { return "module" }

func (m Module) String() string { return "module " + m.Name + " loaded" }

// Undone implements [Record].
func (m Module) Undone() string { return "module " + m.Name + " unloaded, unless it is in use" }

// Volatile is true: a module that is loaded after a reboot was loaded by the host itself.
func (Module) Volatile() bool { return true }

// Undo implements [Record]. A module that is in use by now (by a console on the GPU, say) stays
// loaded, and that is no error.
func (m Module) Undo(ctx context.Context, sys System) error {
	if _, err := sys.Stat(m.Dir()); targetGone(err) {
		return nil
	}
	err := sys.RemoveModule(ctx, m.Name)
	// Delete_module(2): the module is in use.
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EWOULDBLOCK) {
		return nil
	}
	return err
}

// Dir returns the module's directory in sysfs, which exists while the module is loaded.
func (m Module) Dir() string { return "/sys/module/" + strings.ReplaceAll(m.Name, "-", "_") }

func readText(sys System, path string) (string, error) {
	b, err := sys.ReadFile(path)
	s := strings.TrimSpace(string(b))
	if s == "(null)" { // sysfs prints this for an empty string
		s = ""
	}
	return s, err
}

func ignoreGone(err error) error {
	if targetGone(err) {
		return nil
	}
	return err
}
