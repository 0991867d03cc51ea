package xe

import (
	"context"
	"errors"

	"vmtb/bench/xe/vgpu"
)

// The methods here return the reports of the PF's driver. If a kernel lacks a report, the error
// matches [bench.ErrNotAvailable].

// Limits returns how many VFs the hardware and the driver support, and how many are enabled.
func (p *PF) Limits() (Limits, error) {
	return parsed(p.files, parseLimits, p.files.root+"/sriov/pf/vfs", p.files.root+"/pf/vfs")
}

// Mode returns how the driver runs the device.
func (p *PF) Mode() (Mode, error) { return parsed(p.files, parseMode, p.files.root+"/sriov_info") }

// Versions returns the versions of the interface between VFs' drivers and the PF's.
func (p *PF) Versions() (Versions, error) {
	return parsed(p.files, parseVersions, p.files.root+"/sriov/pf/versions", p.files.root+"/pf/versions")
}

// Tiles returns the numbers of the tiles.
func (p *PF) Tiles() []int {
	var list []int
	for _, gt := range p.files.mainGTs() {
		list = append(list, gt.Tile)
	}
	return list
}

// ofTile returns a file of the resources of the PF's tile.
func (p *PF) ofTile(tile int, name string) string {
	for _, gt := range p.files.mainGTs() {
		if gt.Tile == tile {
			return p.files.tileFile(0, gt, name)
		}
	}
	return p.files.tileFile(0, GT{Tile: tile, ID: -1}, name) // no such file exists
}

// AvailableGGTT returns the free part of a tile's GGTT.
func (p *PF) AvailableGGTT(tile int) (Available, error) {
	return parsed(p.files, parseAvailable, p.ofTile(tile, "ggtt_available"))
}

// AdverseEvents returns the firmware's counts of a GT, for VFs with at least one event.
func (p *PF) AdverseEvents(gt GT) ([]Events, error) {
	return parsed(p.files, parseEvents, p.files.gtFile(0, gt, "adverse_events"))
}

// Policies are the firmware's rules for all functions on a GT.
type Policies struct {
	ResetEngine bool `json:"reset_engine"`  // engines are reset on each switch of VFs
	SchedIfIdle bool `json:"sched_if_idle"` // idle VFs keep their time slice
	// Ms between checks of the counters of adverse events; 0 is never.
	SamplePeriod uint64 `json:"sample_period_ms"`
}

// Policies reads the policies of a GT.
func (p *PF) Policies(gt GT) (Policies, error) {
	reset, err := p.files.read(p.files.gtFile(0, gt, "reset_engine"))
	idle, err2 := p.files.read(p.files.gtFile(0, gt, "sched_if_idle"))
	period, err3 := p.files.read(p.files.gtFile(0, gt, "sample_period_ms"))
	if err := errors.Join(err, err2, err3); err != nil {
		return Policies{}, err
	}
	return Policies{ResetEngine: reset != 0, SchedIfIdle: idle != 0, SamplePeriod: period}, nil
}

// secure sets the firmware's policies on the PF and the thresholds of VFs 1 to n.
func (p *PF) secure(ctx context.Context, s vgpu.Security, n int) error {
	var list []setting
	for _, gt := range p.GTs {
		list = append(list,
			onOff(p.files.gtFile(0, gt, "reset_engine"), s.ResetAfterSwitch),
			setting{p.files.gtFile(0, gt, "sample_period_ms"), s.SamplePeriod, s.SamplePeriod})
	}
	for _, s := range list {
		if err := p.files.apply(ctx, s, true); err != nil {
			return err
		}
	}
	for vf := 1; vf <= n; vf++ {
		if err := p.SetThresholds(ctx, vf, s.Thresholds); err != nil {
			return err
		}
	}
	return nil
}

// SetThresholds changes the thresholds of function fn (0 is the PF), on all GTs.
func (p *PF) SetThresholds(ctx context.Context, fn int, t vgpu.Thresholds) error {
	for _, gt := range p.GTs {
		for _, c := range t.Counters() {
			if err := p.files.apply(
				ctx, setting{p.files.gtFile(fn, gt, thresholdFile(c)), *c.Value, *c.Value}, true,
			); err != nil {
				return err
			}
		}
	}
	return nil
}

func thresholdFile(c vgpu.Counter) string { return "threshold_" + c.Name }
