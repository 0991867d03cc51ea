package xe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"vmtb/bench/pci"
	"vmtb/bench/undo"
)

// A Halt is the record of a VF that was halted: paused, stopped, or paused to be saved or restored.
// Undo makes the VF run again. It tries these ways, and takes the first one that the kernel
// accepts:
//
//   - a resume;
//   - a pause and a resume, which is harmless if the VF already runs;
//   - a reset, if MayReset is set.
type Halt struct {
	VF       pci.Address `json:"vf"`
	How      string      `json:"how"` // "paused", "stopped", "being saved", "being restored"
	MayReset bool        `json:"may_reset,omitempty"`
	Resume   []fileWrite `json:"resume"`
	Pause    []fileWrite `json:"pause"`
	Reset    []fileWrite `json:"reset"`
}

// A fileWrite is a value for a file.
type fileWrite struct {
	Path  string `json:"path"`
	Value string `json:"value"`
}

// Halt returns the record of halting the VF, which must be enabled. mayReset means that the VF's
// work is lost already, or may be lost.
func (c Control) Halt(how string, mayReset bool) (Halt, error) {
	device, err := c.pf.VF(c.vf)
	if err != nil {
		return Halt{}, err
	}
	h := Halt{
		VF: device.Address, How: how, MayReset: mayReset,
		Resume: c.writes("resume"), Pause: c.writes("pause"), Reset: c.resets(device),
	}
	return h, nil
}

// writes returns the writes that do op.
func (c Control) writes(op string) []fileWrite {
	if file := c.whole(op); file != "" {
		return []fileWrite{{file, "1"}}
	}
	var list []fileWrite
	for _, gt := range c.pf.GTs {
		list = append(list, fileWrite{c.pf.files.gtFile(c.vf, gt, "control"), op})
	}
	return list
}

// resets returns the writes that reset the VF, and make the driver drop a partial restore: see
// [Control.DiscardRestore].
func (c Control) resets(device *pci.Device) []fileWrite {
	reset := []fileWrite{{device.Dir() + "/reset", "1"}}
	if file := c.whole("reset"); file != "" {
		reset = []fileWrite{{file, "1"}}
	}
	// On a GPU without migration a save crashes the kernel.
	if _, err := c.MigrationSize(); err != nil {
		return reset
	}
	list := append([]fileWrite{}, reset...)
	list = append(list, c.writes("pause")...)
	list = append(list, fileWrite{c.file("save"), "1"})
	return append(list, reset...)
}

// Kind implements [undo.Record].
func (Halt) Kind() string { return "vf-halt" }

func (h Halt) String() string { return fmt.Sprintf("VF %s %s", h.VF, h.How) }

// Undone implements [undo.Record].
func (h Halt) Undone() string { return fmt.Sprintf("VF %s resumed or reset", h.VF) }

// Volatile is true: a reboot resets VFs.
func (Halt) Volatile() bool { return true }

// Undo implements [undo.Record].
func (h Halt) Undo(_ context.Context, sys undo.System) error {
	if _, err := sys.Stat(h.VF.Dir()); errors.Is(err, fs.ErrNotExist) {
		return nil // VFs that are disabled are reset
	}
	refused := writeAll(sys, h.Resume)
	if refused == nil {
		return nil
	}
	// The kernel does not say whether it refused because the VF is not paused. A pause shows it.
	if writeAll(sys, h.Pause) == nil {
		return writeAll(sys, h.Resume)
	}
	if !h.MayReset {
		return refused
	}
	return writeAll(sys, h.Reset)
}

// writeAll writes to all files, even after an error, so that as many GTs as possible follow.
func writeAll(sys undo.System, list []fileWrite) error {
	var errs []error
	for _, w := range list {
		if err := sys.WriteFile(w.Path, []byte(w.Value)); err != nil {
			errs = append(errs, fmt.Errorf("write %s to %s: %w", w.Value, w.Path, err))
		}
	}
	return errors.Join(errs...)
}
