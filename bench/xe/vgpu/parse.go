package vgpu

import (
	"strings"

	"vmtb/internal/strictjson"
)

// ParseModel reads a vGPU profile file, in the format of the Python tool. file is its name, for
// errors and the model's name. It is strict: an unknown key and a missing one are errors, with
// file, line, column and key. It tries formulas for every number of VFs that a profile serves.
// Errors are [bench.UsageError].
func ParseModel(file string, data []byte) (*Model, error) {
	p := &parser{file: file, data: data}
	m := &Model{Name: strings.TrimSuffix(file, ".json"), ECC: true}
	top := p.keys(p.document(), "version", "PFResources", "vGPUResources", "vGPUScheduler", "vGPUSecurity")
	if p.err != nil {
		return nil, p.err
	}
	m.Version = p.string(top[0])
	m.spare = p.spare(top[1])
	m.Profiles = p.profiles(top[2])
	m.schedulers, m.defaultScheduler = p.schedulers(top[3])
	m.security = p.security(top[4])
	if p.err == nil {
		p.tryFormulas(m)
	}
	if p.err != nil {
		return nil, p.err
	}
	return m, nil
}

// section reads {"Default": name or null, "Profile": {name: ...}}. byDefault is "" for null.
func (p *parser) section(n node) (byDefault string, profiles []member) {
	parts := p.keys(n, "Default", "Profile")
	profiles = p.all(parts[1])
	if parts[0].kind == 'n' {
		return "", profiles
	}
	byDefault = p.string(parts[0])
	for _, m := range profiles {
		if m.name == byDefault {
			return byDefault, profiles
		}
	}
	p.fail(parts[0], "there is no profile %q", byDefault)
	return byDefault, profiles
}

// These are limits of the hardware. Kernel source: the table of numeric attributes in
// xe_gt_sriov_pf_config.c.
const (
	maxVFs       = 1 << 16
	maxVRAM      = 1 << 50
	maxContexts  = 65535
	maxDoorbells = 256
	maxCount     = 1<<32 - 1
)

var resourceKeys = []string{"LocalMemoryEccOff", "LocalMemoryEccOn", "Contexts", "Doorbells", "GGTTSize"}

func (p *parser) memory(n []node) (m memory) {
	m.eccOff, m.eccOn = p.uint(n[0], maxVRAM), p.uint(n[1], maxVRAM)
	m.Contexts, m.Doorbells = p.uint(n[2], maxContexts), p.uint(n[3], maxDoorbells)
	m.GGTT = p.uint(n[4], maxGGTT-1)
	return m
}

func (p *parser) spare(n node) (spare memory) {
	name, list := p.section(n)
	for _, m := range list {
		if r := p.memory(p.keys(m.node, resourceKeys...)); m.name == name {
			spare = r
		}
	}
	return spare
}

func (p *parser) profiles(n node) (list []Profile) {
	_, members := p.section(n)
	for _, m := range members {
		f := p.keys(m.node, append([]string{"VFCount"}, resourceKeys...)...)
		list = append(list, Profile{Name: m.name, VFs: int(p.uint(f[0], maxVFs)), quota: p.memory(f[1:])})
		if p.err == nil && list[len(list)-1].VFs == 0 {
			p.fail(f[0], "must not be 0")
		}
	}
	return list
}

func (p *parser) schedulers(n node) (list []scheduler, byDefault string) {
	byDefault, members := p.section(n)
	for _, m := range members {
		slicing := p.keys(m.node, "GPUTimeSlicing")
		f := p.keys(slicing[0], "ScheduleIfIdle", "PFExecutionQuantum", "PFPreemptionTimeout", "VFAttributes")
		vf := p.keys(f[3], "VFExecutionQuantum", "VFPreemptionTimeout")
		list = append(list, scheduler{
			name:    m.name,
			ifIdle:  p.bool(f[0]),
			pf:      TimeSlice{Quantum: p.uint(f[1], maxCount), Timeout: p.uint(f[2], maxCount)},
			quantum: p.formula(vf[0]), timeout: p.formula(vf[1]),
		})
	}
	return list, byDefault
}

func (p *parser) formula(n node) *formula {
	text := p.string(n)
	if p.err != nil {
		return nil
	}
	f, err := newFormula(strictjson.Where(p.file, p.data, n.offset, n.key), text)
	if err != nil {
		p.err = err
	}
	return f
}

// tryFormulas evaluates each formula for the profiles' numbers of VFs, so that a wrong formula is
// found when the file is read.
func (p *parser) tryFormulas(m *Model) {
	for _, profile := range m.Profiles {
		for _, s := range m.schedulers {
			for _, f := range []*formula{s.quantum, s.timeout} {
				if _, err := f.eval(profile.VFs); err != nil {
					p.err = err
					return
				}
			}
		}
	}
}

func (p *parser) security(n node) (chosen Security) {
	name, members := p.section(n)
	for _, m := range members {
		f := p.keys(m.node, "ResetAfterVfSwitch", "GuCSamplingPeriod", "GuCThresholdCATError", "GuCThresholdPageFault",
			"GuCThresholdH2GStorm", "GuCThresholdDbStorm", "GuCThresholdGTIrqStorm", "GuCThresholdEngineReset")
		s := Security{
			ResetAfterSwitch: p.bool(f[0]),
			SamplePeriod:     p.uint(f[1], maxCount),
			Thresholds: Thresholds{
				CATError: p.uint(f[2], maxCount), PageFault: p.uint(f[3], maxCount),
				GuCTime: p.uint(f[4], maxCount), DoorbellTime: p.uint(f[5], maxCount),
				IRQTime: p.uint(f[6], maxCount), EngineReset: p.uint(f[7], maxCount),
			},
		}
		if m.name == name {
			chosen = s
		}
	}
	return chosen
}
