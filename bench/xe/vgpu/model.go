package vgpu

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"vmtb/bench"
	"vmtb/internal/prose"
)

// models maps PCI device ids to profile files, without ".json".
var models = map[uint16]string{
	0xe20b: "Bmg_g21_12",
	0xe212: "Bmg_g21_16", // Arc Pro B50
	0x56c0: "Flex170", 0x56c2: "Flex170",
	0xb080: "Ptl", 0xb081: "Ptl", 0xb082: "Ptl", 0xb083: "Ptl", 0xb084: "Ptl", 0xb085: "Ptl", 0xb086: "Ptl",
	0xb087: "Ptl",
	0xb08f: "Ptl", 0xb090: "Ptl", 0xb0a0: "Ptl", 0xb0b0: "Ptl", 0xfd80: "Ptl", 0xfd81: "Ptl",
}

// families are the SR-IOV GPUs that Linux 7.3 supports and that have no profile file. nearest is
// the profile file of the nearest model of the same family, "" if there is none. Kernel source:
// include/drm/intel/pciids.h, has_sriov in xe_pci.c.
var families = []struct {
	name, nearest string
	ids           []uint16
}{
	{"Battlemage", "Bmg_g21_12", []uint16{
		0xe202, 0xe209, 0xe20c, 0xe20d, 0xe210, 0xe211, 0xe216, 0xe220, 0xe221, 0xe222, 0xe223,
	}},
	{"ATS-M75", "Flex170", []uint16{0x56c1}},
	{"Nova Lake S", "Ptl", []uint16{0xd740, 0xd741, 0xd742, 0xd743, 0xd745, 0xd74a, 0xd74b}},
	{"Nova Lake P", "Ptl", []uint16{0xd750, 0xd751, 0xd752, 0xd753, 0xd754, 0xd755, 0xd756, 0xd757, 0xd75f}},
	{"Crescent Island", "", []uint16{0x674c, 0x674d, 0x674e, 0x674f, 0x6750}},
}

// unknownModel returns the error for a GPU without a profile file. The error offers the nearest
// one. The user must choose it: its figures are for another amount of memory.
func unknownModel(device uint16) error {
	err := fmt.Errorf("no vGPU profiles are known for PCI device id %04x: %w", device, bench.ErrNotAvailable)
	give := func(file string) string {
		return fmt.Sprintf(`"device_models": {"%04x": %q} in the configuration`, device, file)
	}
	for _, f := range families {
		if !slices.Contains(f.ids, device) {
			continue
		}
		err = fmt.Errorf("no vGPU profiles are known for PCI device id %04x (%s): %w",
			device, f.name, bench.ErrNotAvailable)
		if f.nearest != "" {
			return &bench.UsageError{Err: err, Advice: "the nearest model is " + f.nearest + ": " + give(f.nearest) +
				" selects it, if its figures suit the board; or use automatic provisioning"}
		}
	}
	return &bench.UsageError{
		Err: err,
		Advice: "map the id to a profile file of your own, " + give("Mine") +
			" with Mine.json in resources.vgpu_profiles_path, or use automatic provisioning",
	}
}

// A Model is the content of a vGPU profile file: the ways to divide one model of GPU.
type Model struct {
	Name     string // the file's name without .json
	Version  string
	Profiles []Profile // in the file's order
	// ECC selects the VRAM figures with error correction. The default is true, as in the Python
	// tool.
	ECC bool

	spare            memory
	schedulers       []scheduler
	defaultScheduler string
	security         Security
}

// A Profile has the share of each VF, for a number of VFs.
type Profile struct {
	Name  string // "Bmg_6"
	VFs   int
	quota memory
}

// memory is resources with two VRAM figures: without and with error correction.
type memory struct {
	Resources     // without VRAM
	eccOff, eccOn uint64
}

func (m memory) resources(ecc bool) Resources {
	r := m.Resources
	r.VRAM = m.eccOff
	if ecc {
		r.VRAM = m.eccOn
	}
	return r
}

// scheduler is a scheduler profile. The formulas take the number of VFs.
type scheduler struct {
	name             string
	pf               TimeSlice
	ifIdle           bool
	quantum, timeout *formula
}

// A SchedulerMode is a way to share GPU time. Its value is the name used in the ids of flows.
type SchedulerMode string

// These are the scheduler modes. All but INFINITE come from the model's profile file.
const (
	// No time slices; the kernel's default up to Linux 7.0.
	Infinite             SchedulerMode = "INFINITE"
	DefaultProfile       SchedulerMode = "DEFAULT_PROFILE" // the default of the file
	Flexible30FPS        SchedulerMode = "FLEXIBLE_30FPS"
	Fixed30FPS           SchedulerMode = "FIXED_30FPS"
	FlexibleBurstableQoS SchedulerMode = "FLEXIBLE_BURSTABLE_QOS"
)

var schedulerNames = map[SchedulerMode]string{
	Flexible30FPS:        "Flexible_30fps_GPUTimeSlicing",
	Fixed30FPS:           "Fixed_30fps_GPUTimeSlicing",
	FlexibleBurstableQoS: "Flexible_BurstableQoS_GPUTimeSlicing",
}

// LoadModel reads the profile file for the GPU with a PCI device id. The last of dirs that has the
// file counts, so a user's directory comes after [Files]. mapping adds device ids, in hexadecimal,
// to those that vmtb knows: {"e20c": "Bmg_g21_12"}. Errors are [bench.UsageError]; a device that is
// unknown matches [bench.ErrNotAvailable].
func LoadModel(device uint16, mapping map[string]string, dirs ...fs.FS) (*Model, error) {
	name := models[device]
	for id, model := range mapping {
		id = strings.TrimPrefix(strings.ToLower(id), "0x")
		if n, err := strconv.ParseUint(id, 16, 16); err == nil && n == uint64(device) {
			name = strings.TrimSuffix(model, ".json")
		}
	}
	if name == "" {
		return nil, unknownModel(device)
	}
	for _, dir := range slices.Backward(dirs) {
		data, err := fs.ReadFile(dir, name+".json")
		if err == nil {
			return ParseModel(name+".json", data)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, &bench.UsageError{Err: err}
		}
	}
	return nil, &bench.UsageError{Err: fmt.Errorf("vGPU profile file %s.json: %w", name, fs.ErrNotExist)}
}

// Plan chooses the profile for n VFs: the one for exactly n, else the nearest for up to two more.
// note says which profile, and why. Formulas of the scheduling get n, not the profile's number of
// VFs.
func (m *Model) Plan(n int, mode SchedulerMode) (plan Plan, note string, err error) {
	fit, ok := m.fit(n)
	if !ok {
		var have []string
		for _, p := range m.Profiles {
			have = append(have, strconv.Itoa(p.VFs))
		}
		return Plan{}, "", &bench.UsageError{
			Err: fmt.Errorf("%s has no vGPU profile for %s", m.Name, prose.Count(n, "VF")),
			Advice: "there are profiles for " + strings.Join(
				have, ", ",
			) + "; a profile for up to two more VFs is used, too",
		}
	}
	plan, err = m.planOf(fit, n, mode)
	note = fmt.Sprintf("vGPU profile %s: made for %s", fit.Name, prose.Count(n, "VF"))
	if fit.VFs != n {
		note = fmt.Sprintf("vGPU profile %s: made for %s, the nearest to %d",
			fit.Name, prose.Count(fit.VFs, "VF"), n)
	}
	return plan, note, err
}

func (m *Model) planOf(p Profile, n int, mode SchedulerMode) (Plan, error) {
	quota := p.quota.resources(m.ECC)
	scheduling, err := m.Scheduling(n, mode)
	plan := Plan{
		VFs: n, Quota: &quota, Spare: m.spare.resources(m.ECC), Scheduling: scheduling, Security: m.security,
	}
	return plan, err
}

// These values of a profile, for [PlanFor], are not names.
const (
	ProfileAuto = "auto" // the driver gives each VF a fair share
	ProfileFit  = "fit"  // the profile of [Model.Plan]
)

// PlanFor returns the plan for n VFs with a profile: one of the values above, or a name. It calls
// model if it needs the GPU's model. If note is not "", it says which profile was chosen, and why.
func PlanFor(
	n int, profile string, mode SchedulerMode, model func() (*Model, error),
) (plan Plan, note string, err error) {
	plan = Auto(n)
	if profile == ProfileAuto && mode == Infinite {
		return plan, "", nil
	}
	m, err := model()
	if err != nil {
		return plan, "", err
	}
	switch profile {
	case ProfileAuto:
		plan.Scheduling, err = m.Scheduling(n, mode)
	case ProfileFit:
		return m.Plan(n, mode)
	default:
		plan, err = m.PlanNamed(profile, n, mode)
	}
	return plan, "", err
}

// PlanNamed returns the plan for n VFs with the named profile, which must be made for at least n.
func (m *Model) PlanNamed(name string, n int, mode SchedulerMode) (Plan, error) {
	i := slices.IndexFunc(m.Profiles, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		var have []string
		for _, p := range m.Profiles {
			have = append(have, p.Name)
		}
		return Plan{}, &bench.UsageError{
			Err:    fmt.Errorf("%s has no vGPU profile %q", m.Name, name),
			Advice: "there are " + strings.Join(have, ", "),
		}
	}
	p := m.Profiles[i]
	if n > p.VFs {
		return Plan{}, &bench.UsageError{
			Err: fmt.Errorf("vGPU profile %s is made for %s, not for %d", name, prose.Count(p.VFs, "VF"), n),
		}
	}
	return m.planOf(p, n, mode)
}

func (m *Model) fit(n int) (best Profile, ok bool) {
	for _, p := range m.Profiles {
		if p.VFs >= n && p.VFs <= n+2 && (!ok || p.VFs < best.VFs) {
			best, ok = p, true
		}
	}
	return best, ok
}

// Scheduling returns how n VFs share GPU time in a mode. It also serves automatic provisioning.
func (m *Model) Scheduling(n int, mode SchedulerMode) (Scheduling, error) {
	if mode == Infinite {
		return Scheduling{}, nil
	}
	name := schedulerNames[mode]
	if mode == DefaultProfile {
		name = m.defaultScheduler
	}
	i := slices.IndexFunc(m.schedulers, func(s scheduler) bool { return s.name == name })
	if i < 0 {
		return Scheduling{}, &bench.UsageError{
			Err: fmt.Errorf("%s has no scheduler profile %q (%s)", m.Name, cmp.Or(name, "?"), mode),
		}
	}
	p := m.schedulers[i]
	quantum, err := p.quantum.eval(n)
	if err != nil {
		return Scheduling{}, err
	}
	timeout, err := p.timeout.eval(n)
	return Scheduling{PF: p.pf, VF: TimeSlice{quantum, timeout}, ScheduleIfIdle: p.ifIdle}, err
}
