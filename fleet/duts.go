package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"vmtb/internal/ansi"
)

// listDUTs prints the DUTs and their states.
func (b *bus) listDUTs(ctx context.Context, out io.Writer, asJSON bool) error {
	duts, err := all[dutInfo](ctx, b, "dut", "*")
	if err != nil {
		return err
	}
	list := make([]dutInfo, 0, len(duts))
	for _, name := range slices.Sorted(maps.Keys(duts)) {
		list = append(list, duts[name])
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	}
	for _, d := range list {
		silent := ""
		if age := time.Since(d.Seen).Round(time.Second); age > defaultLost/leaseBeats*4 {
			silent = fmt.Sprintf(", silent for %v", age)
		}
		text := fmt.Sprintf("%-16s %-9s gpu=%s vfs=%s kernel=%s%s  %s", d.Name, d.State,
			d.Labels["gpu"], d.Labels["vfs"], d.Labels["kernel"], silent, strings.TrimSpace(d.Unit+" "+d.Why))
		fmt.Fprintln(out, ansi.Printable(text))
	}
	return nil
}

// knows returns an error if the engine has no DUT with this name.
func (b *bus) knows(ctx context.Context, dut string) error {
	err := checkName("DUT", dut)
	if err == nil {
		_, e, getErr := get[dutInfo](ctx, b, "dut."+dut)
		if err = getErr; err == nil && e == nil {
			err = usagef("there is no DUT %s: \"vmtb-fleet duts\" lists them", dut)
		}
	}
	return err
}

// setStanding changes whether a DUT may take units.
func (b *bus) setStanding(ctx context.Context, dut string, change func(*standing)) error {
	if err := b.knows(ctx, dut); err != nil {
		return err
	}
	s, e, err := get[standing](ctx, b, "standing."+dut)
	if err != nil {
		return err
	}
	change(&s)
	if _, err = b.swap(ctx, "standing."+dut, e, s); err != nil {
		return fmt.Errorf("change the state of %s: %w (another command may have changed it: try again)", dut, err)
	}
	b.wake()
	return nil
}
