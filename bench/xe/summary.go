package xe

import (
	"errors"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/xe/vgpu"
)

// A Summary is everything that the kernel reports of a PF and its VFs. A field is nil if this
// kernel does not report it.
type Summary struct {
	Address   pci.Address     `json:"address"`
	Card      int             `json:"card"`
	IDs       string          `json:"ids"`        // "8086:e20b"
	TotalVFs  int             `json:"total_vfs"`  // as sysfs allows
	AdminOnly bool            `json:"admin_only"` // see [PF.AdminOnly]
	GTs       []GTSummary     `json:"gts"`
	Mode      *Mode           `json:"mode"`
	Limits    *Limits         `json:"limits"`
	GGTT      []Available     `json:"ggtt"` // by tile
	Spare     *vgpu.Resources `json:"spare"`
	Functions []Function      `json:"functions"` // the PF, then the enabled VFs
	// Errors of files that could not be read, or have no single value.
	Problems []string `json:"problems"`
}

// A GTSummary is what the kernel reports of a GT.
type GTSummary struct {
	Tile     int       `json:"tile"`
	ID       int       `json:"gt"`
	Media    bool      `json:"media"`
	Policies *Policies `json:"policies"`
}

// A Function is what the kernel reports of the PF or a VF.
type Function struct {
	VF         int             `json:"vf"` // 0 is the PF
	Address    pci.Address     `json:"address"`
	Driver     string          `json:"driver"`      // on this host; "" is none
	IOMMUGroup *int            `json:"iommu_group"` // nil without an IOMMU
	Quota      *vgpu.Resources `json:"quota"`       // of a VF
	TimeSlice  *vgpu.TimeSlice `json:"time_slice"`
	Priority   *Priority       `json:"priority"`
	// Agreed on by the driver of the VF; nil if none has.
	Version *Version `json:"version"`
	// Adverse events, of all GTs together; nil if there were none.
	Events *vgpu.Thresholds `json:"events"`
}

// Summary reads everything that the kernel reports. It fails only if the kernel reports nothing.
func (p *PF) Summary() (*Summary, error) {
	ids, err := p.IDs()
	if err != nil {
		return nil, err
	}
	vfs, err := p.VFs()
	if err != nil {
		return nil, err
	}
	s := &Summary{Address: p.Address, Card: p.Card, IDs: ids.String(), AdminOnly: p.AdminOnly()}
	if s.TotalVFs, err = p.TotalVFs(); err != nil {
		return nil, err
	}
	s.Mode = optional(s, p.Mode)
	s.Limits = optional(s, p.Limits)
	s.Spare = optional(s, p.Quotas.Spare)
	for _, tile := range p.Tiles() {
		if a := optional(s, func() (Available, error) { return p.AvailableGGTT(tile) }); a != nil {
			s.GGTT = append(s.GGTT, *a)
		}
	}
	for _, gt := range p.GTs {
		policies := optional(s, func() (Policies, error) { return p.Policies(gt) })
		s.GTs = append(s.GTs, GTSummary{gt.Tile, gt.ID, gt.Media, policies})
	}
	for i, d := range append([]*pci.Device{p.Device}, vfs...) {
		s.Functions = append(s.Functions, p.function(s, i, d))
	}
	p.addVersions(s)
	p.addEvents(s)
	return s, nil
}

// optional returns an answer, or nil if there is none. It adds an error to the summary's problems,
// unless the error matches [bench.ErrNotAvailable].
func optional[T any](s *Summary, question func() (T, error)) *T {
	v, err := question()
	if err == nil {
		return &v
	}
	if !errors.Is(err, bench.ErrNotAvailable) {
		s.Problems = append(s.Problems, err.Error())
	}
	return nil
}

func (p *PF) function(s *Summary, fn int, d *pci.Device) Function {
	f := Function{VF: fn, Address: d.Address, Driver: d.Driver()}
	f.IOMMUGroup = optional(s, d.IOMMUGroup)
	f.TimeSlice = optional(s, func() (vgpu.TimeSlice, error) { return p.Scheduler.TimeSlice(fn) })
	f.Priority = optional(s, func() (Priority, error) { return p.Scheduler.Priority(fn) })
	if fn > 0 {
		f.Quota = optional(s, func() (vgpu.Resources, error) { return p.Quotas.Of(fn) })
	}
	return f
}

func (p *PF) addVersions(s *Summary) {
	versions := optional(s, p.Versions)
	if versions == nil {
		return
	}
	for i := range s.Functions {
		if v, ok := versions.VFs[s.Functions[i].VF]; ok {
			s.Functions[i].Version = &v
		}
	}
}

func (p *PF) addEvents(s *Summary) {
	for _, gt := range p.GTs {
		list := optional(s, func() ([]Events, error) { return p.AdverseEvents(gt) })
		if list == nil {
			continue
		}
		for _, e := range *list {
			if e.VF >= len(s.Functions) {
				continue // the VF has been disabled meanwhile
			}
			f := &s.Functions[e.VF]
			if f.Events == nil {
				f.Events = &vgpu.Thresholds{}
			}
			f.Events.Add(e.Thresholds)
		}
	}
}
