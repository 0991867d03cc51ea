package xe

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"vmtb/bench"
	"vmtb/bench/xe/vgpu"
)

// What the PF's driver tells. What a kernel does not tell is [bench.ErrNotAvailable] everywhere here.

// parsed reads the first of files that is there.
func parsed[T any](p *PF, parse func(string) (T, error), files ...string) (T, error) {
	var v T
	for i, file := range files {
		text, err := p.tree.Text(file)
		if errors.Is(err, fs.ErrNotExist) && i < len(files)-1 {
			continue
		}
		if err != nil {
			return v, available(file, err)
		}
		if v, err = parse(text); err != nil {
			return v, &bench.HostError{Op: "read", Noun: file, Err: err}
		}
		return v, nil
	}
	return v, nil
}

// Limits says how many VFs the hardware and the driver can have, and how many are enabled.
func (p *PF) Limits() (Limits, error) {
	return parsed(p, parseLimits, p.root+"/sriov/pf/vfs", p.root+"/pf/vfs")
}

// Mode says how the driver runs the device.
func (p *PF) Mode() (Mode, error) { return parsed(p, parseMode, p.root+"/sriov_info") }

// Versions are of the interface between VFs' drivers and the PF's.
func (p *PF) Versions() (Versions, error) {
	return parsed(p, parseVersions, p.root+"/sriov/pf/versions", p.root+"/pf/versions")
}

// Tiles are the numbers of the tiles.
func (p *PF) Tiles() []int {
	var list []int
	for _, gt := range p.mainGTs() {
		list = append(list, gt.Tile)
	}
	return list
}

// ofTile is a file of the resources of the PF's tile.
func (p *PF) ofTile(tile int, name string) string {
	for _, gt := range p.mainGTs() {
		if gt.Tile == tile {
			return p.tileFile(0, gt, name)
		}
	}
	return p.tileFile(0, GT{Tile: tile, ID: -1}, name) // there is no such file
}

// AvailableGGTT is what is left of a tile's GGTT.
func (p *PF) AvailableGGTT(tile int) (Available, error) {
	return parsed(p, parseAvailable, p.ofTile(tile, "ggtt_available"))
}

// ProvisionedGGTT are the GGTT ranges, in bytes, of the VFs that have one.
func (p *PF) ProvisionedGGTT(tile int) ([]VFRange, error) {
	return parsed(p, parseRanges, p.ofTile(tile, "ggtt_provisioned"))
}

// ProvisionedVRAM is the local memory of the VFs that have some. Integrated GPUs have none: [bench.ErrNotAvailable].
func (p *PF) ProvisionedVRAM(tile int) ([]VFBytes, error) {
	return parsed(p, parseBytes, p.ofTile(tile, "vram_provisioned"))
}

// ProvisionedContexts are the context ids of the VFs that have some, on a GT.
func (p *PF) ProvisionedContexts(gt GT) ([]VFRange, error) {
	return parsed(p, parseRanges, p.gtFile(0, gt, "contexts_provisioned"))
}

// ProvisionedDoorbells are the doorbells of the VFs that have some, on a GT.
func (p *PF) ProvisionedDoorbells(gt GT) ([]VFRange, error) {
	return parsed(p, parseRanges, p.gtFile(0, gt, "doorbells_provisioned"))
}

// AdverseEvents are what the firmware of a GT has counted, for VFs with at least one event.
func (p *PF) AdverseEvents(gt GT) ([]Events, error) {
	return parsed(p, parseEvents, p.gtFile(0, gt, "adverse_events"))
}

// Policies are the firmware's rules for all functions on a GT.
type Policies struct {
	ResetEngine  bool   `json:"reset_engine"`     // engines are reset on each switch of VFs
	SchedIfIdle  bool   `json:"sched_if_idle"`    // idle VFs keep their time slice
	SamplePeriod uint64 `json:"sample_period_ms"` // ms between two looks at the counters of adverse events; 0 is never
}

// Policies reads those of a GT.
func (p *PF) Policies(gt GT) (Policies, error) {
	reset, err := p.read(p.gtFile(0, gt, "reset_engine"))
	idle, err2 := p.read(p.gtFile(0, gt, "sched_if_idle"))
	period, err3 := p.read(p.gtFile(0, gt, "sample_period_ms"))
	if err := errors.Join(err, err2, err3); err != nil {
		return Policies{}, err
	}
	return Policies{ResetEngine: reset != 0, SchedIfIdle: idle != 0, SamplePeriod: period}, nil
}

// Thresholds reads those of function fn (0 is the PF) on a GT. What the kernel does not have yet is 0.
func (p *PF) Thresholds(fn int, gt GT) (vgpu.Thresholds, error) {
	var t vgpu.Thresholds
	missing := 0
	for _, c := range t.Counters() {
		n, err := p.read(p.gtFile(fn, gt, thresholdFile(c)))
		if errors.Is(err, bench.ErrNotAvailable) {
			missing++
			if missing < len(t.Counters()) {
				continue
			}
		}
		if err != nil {
			return t, err
		}
		*c.Value = n
	}
	return t, nil
}

// TimeSlice reads that of function fn (0 is the PF). GTs that differ are an error matching EUCLEAN: there is no one
// answer.
func (p *PF) TimeSlice(fn int) (vgpu.TimeSlice, error) {
	var t vgpu.TimeSlice
	for i, s := range p.timeSlice(fn, vgpu.TimeSlice{}) {
		n, err := p.read(s.file)
		if err != nil {
			return t, err
		}
		field := []*uint64{&t.Quantum, &t.Timeout}[i%2]
		if i >= 2 && *field != n {
			return t, &bench.HostError{Op: "read", Noun: s.file, Err: fmt.Errorf("it is %d, and %d on another GT: %w", n, *field, errUnclean)}
		}
		*field = n
	}
	return t, nil
}

// A Priority is a function's when several want the GPU. VFs have low or normal.
type Priority string

// The priorities, by their number in debugfs.
const (
	Low    Priority = "low"
	Normal Priority = "normal"
	High   Priority = "high"
)

// Priority reads that of function fn (0 is the PF); GTs that differ are an error matching EUCLEAN.
func (p *PF) Priority(fn int) (Priority, error) {
	if p.hasAdmin() {
		return parsed(p, parseChoice, p.adminFile(fn, "sched_priority"))
	}
	var all Priority
	for i, gt := range p.GTs {
		file := p.gtFile(fn, gt, "sched_priority")
		now, err := parsed(p, parsePriority, file)
		if err != nil {
			return "", err
		}
		if i > 0 && now != all {
			return "", &bench.HostError{Op: "read", Noun: file, Err: fmt.Errorf("it is %s, and %s on another GT: %w", now, all, errUnclean)}
		}
		all = now
	}
	return all, nil
}

// parseChoice reads "[low] normal high".
func parseChoice(text string) (Priority, error) {
	c := Priority(chosen(text))
	if c != Low && c != Normal && c != High || strings.Count(text, "[") != 1 {
		return "", fmt.Errorf("no choice in %q", text)
	}
	return c, nil
}

// parsePriority reads a number.
func parsePriority(text string) (Priority, error) {
	c, ok := map[string]Priority{"0": Low, "1": Normal, "2": High}[text]
	if !ok {
		return "", fmt.Errorf("%q is not a priority", text)
	}
	return c, nil
}
