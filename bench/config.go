package bench

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"vmtb/internal/strictjson"
)

// A Config is the file vmtb_config.json: the keys of the Python tool, which load unchanged, and our own, which all
// have defaults. Keys that the Python tool reads and never uses are accepted and marked "unused".
type Config struct {
	Host      HostConfig      `json:"host"`
	Guest     GuestConfig     `json:"guest"`
	Resources ResourcesConfig `json:"resources"`
	CI        CIConfig        `json:"ci"`

	VM VMConfig `json:"vm"` // ours: the shape of every virtual machine
	// ours: PCI device id ("e20b") to the name of a vGPU profile file ("Bmg_g21_12.json"), before the built-in table
	DeviceModels map[string]string `json:"device_models"`
	TimeoutScale float64           `json:"timeout_scale"` // ours: multiplies every deadline, 1 by default

	// WorkloadScale, ours, multiplies amounts of work and the waits that are part of what a flow tests; 1 by default.
	WorkloadScale float64 `json:"workload_scale"`

	// ours: run what harms a machine that is in use; in the lab it always runs
	AllowDestructive bool `json:"allow_destructive"`

	// Destructive is the flag --destructive: AllowDestructive, and what is known to crash the
	// kernel if it is selected by name. No file can say it.
	Destructive bool `json:"-"`
}

// A HostConfig says what to test on the host.
type HostConfig struct {
	CardIndex  *int       `json:"card_index"`  // DRM card number of the PF; without it "the only one" is taken
	PCIAddress PCIAddress `json:"pci_address"` // ours: of the PF, instead of card_index
	Driver     string     `json:"driver"`      // PF driver; "<driver>-vfio-pci" is its vendor VFIO variant
	IGT        IGTConfig  `json:"igt"`
}

// A GuestConfig says what to boot and what to expect in it.
type GuestConfig struct {
	OSImage string    `json:"os_image"` // relative to the working directory, as in the Python tool
	Driver  string    `json:"driver"`
	IGT     IGTConfig `json:"igt"`
}

// An IGTConfig says where IGT is on a machine.
type IGTConfig struct {
	TestDir   string `json:"test_dir"`
	ToolDir   string `json:"tool_dir"`
	LibDir    string `json:"lib_dir"`
	ResultDir string `json:"result_dir"`
	Options   string `json:"options"` // of every igt_runner call
}

// A ResourcesConfig names directories, relative to the configuration file.
type ResourcesConfig struct {
	VGPUProfilesPath string `json:"vgpu_profiles_path"`
	WsimPath         string `json:"wsim_wl_path"`
	GuCPath          string `json:"guc_ver_path"` // unused
}

// A CIConfig is what the continuous integration around a run wants of its reports.
type CIConfig struct {
	HostDmesgFile string `json:"host_dmesg_file"` // unused
	// who reports to KCIDB: lower-case letters, digits and "_"; "" is "vmtb"
	KCIDBOrigin string `json:"kcidb_origin"`
	// the build that is tested, "origin:id"; "" makes one of the running kernel
	KCIDBBuildID string `json:"kcidb_build_id"`
}

// A VMConfig is the shape of a virtual machine.
type VMConfig struct {
	QEMU      string `json:"qemu"`       // program
	Machine   string `json:"machine"`    // "q35", or "pc" as the Python tool had it
	Firmware  string `json:"firmware"`   // "bios", "uefi", or the absolute path of a firmware image
	MemoryMiB int    `json:"memory_mib"` // VFIO pins all of it
	CPUs      int    `json:"cpus"`
	DiskBus   string `json:"disk_bus"` // "virtio", or "ide" as the Python tool had it
	// who may see the screens: "off", "local", "on", "open"; "" leaves it to the command, see Screens
	VNC string `json:"vnc"`
	// of the host's loopback for the guest's SSH, plus the machine's number; 0 is any; without it there is none
	SSHPort *int `json:"ssh_port"`
	// machines go on from the state of one like them that has booted, where a flow allows it
	Warm      bool     `json:"warm"`
	ExtraArgs []string `json:"extra_args"`
}

// VNCModes are the values of [VMConfig.VNC].
var VNCModes = []string{"off", "local", "on", "open"}

// Screens is VNC, or usual if that is not set.
func (c VMConfig) Screens(usual string) string { return cmp.Or(c.VNC, usual) }

// NeedGuestImage is the name of the precondition of flows that boot [GuestConfig.OSImage]: a run of such a flow without
// the image is refused before it begins.
const NeedGuestImage = "guest image"

// The directories of the Python tool's own files: a configuration that names them, and a vmtb without them, means
// the files built into vmtb.
const (
	DefaultVGPUProfilesPath = "vmm_flows/resources/vgpu_profiles"
	DefaultWsimPath         = "vmm_flows/resources/wsim"
)

// DefaultConfig is what an empty file means. The values of shared keys are the Python tool's.
func DefaultConfig() *Config {
	igt := IGTConfig{
		TestDir:   "/usr/local/libexec/igt-gpu-tools/",
		ToolDir:   "/usr/local/bin/",
		LibDir:    "/usr/local/lib/x86_64-linux-gnu",
		ResultDir: "/usr/local/results",
		Options:   "--piglit-style-dmesg --dmesg-warn-level=4 --abort-on-monitored-error=taint --overwrite",
	}
	return &Config{
		Host:  HostConfig{Driver: "xe", IGT: igt},
		Guest: GuestConfig{OSImage: "guest_os.img", Driver: "xe", IGT: igt},
		Resources: ResourcesConfig{
			VGPUProfilesPath: DefaultVGPUProfilesPath, WsimPath: DefaultWsimPath, GuCPath: "vmm_flows/resources/guc",
		},
		VM: VMConfig{
			QEMU: "qemu-system-x86_64", Machine: "q35", Firmware: "bios", MemoryMiB: 4096, CPUs: 1, DiskBus: "virtio",
		},
		TimeoutScale: 1, WorkloadScale: 1,
	}
}

// ParseConfig reads data, the content of the file at path, over the defaults and makes its directories relative to
// the file. Anything it does not know is a [UsageError] that says file, line, column and key.
func ParseConfig(path string, data []byte) (*Config, error) {
	c := DefaultConfig()
	if err := strictjson.Unmarshal(path, data, c); err != nil {
		return nil, &UsageError{Err: err, Advice: "vmtb help configuration lists the keys"}
	}
	dir := filepath.Dir(path)
	for _, p := range []*string{&c.Resources.VGPUProfilesPath, &c.Resources.WsimPath, &c.Resources.GuCPath} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	if err := c.Validate(); err != nil {
		return nil, &UsageError{Err: fmt.Errorf("%s: %w", path, err), Advice: "vmtb help configuration lists the keys"}
	}
	return c, nil
}

var (
	driverName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*$`)
	fileName   = regexp.MustCompile(`^[^/.][^/]*$`) // in the directory of profiles, not elsewhere

	// What KCIDB's schema allows.
	kcidbOrigin = regexp.MustCompile(`^[a-z0-9_]+$`)
	kcidbBuild  = regexp.MustCompile(`^[a-z0-9_]+:[^\x00]+$`)
)

// validate checks the shape of machines.
func (v VMConfig) validate(bad func(format string, args ...any)) {
	if v.MemoryMiB < 64 {
		bad("vm.memory_mib is %d, want 64 or more", v.MemoryMiB)
	}
	if v.CPUs < 1 {
		bad("vm.cpus is %d, want 1 or more", v.CPUs)
	}
	if v.Firmware != "bios" && v.Firmware != "uefi" && !filepath.IsAbs(v.Firmware) {
		bad("vm.firmware is %q, want bios, uefi or the absolute path of a firmware image", v.Firmware)
	}
	if v.DiskBus != "virtio" && v.DiskBus != "ide" {
		bad("vm.disk_bus is %q, want virtio or ide", v.DiskBus)
	}
	if v.VNC != "" && !slices.Contains(VNCModes, v.VNC) {
		bad("vm.vnc is %q, want off, local, on or open", v.VNC)
	}
	if p := v.SSHPort; p != nil && (*p < 0 || *p > 65000) {
		bad("vm.ssh_port is %d, want 0 to 65000", *p)
	}
}

func (c CIConfig) validate() error {
	if c.KCIDBOrigin != "" && !kcidbOrigin.MatchString(c.KCIDBOrigin) {
		return fmt.Errorf("ci.kcidb_origin is %q, want lower-case letters, digits and _", c.KCIDBOrigin)
	}
	if c.KCIDBBuildID != "" && !kcidbBuild.MatchString(c.KCIDBBuildID) {
		return fmt.Errorf("ci.kcidb_build_id is %q, want origin:id", c.KCIDBBuildID)
	}
	return nil
}

// Validate checks what the types do not say.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, d := range [][2]string{{"host.driver", c.Host.Driver}, {"guest.driver", c.Guest.Driver}} {
		if !driverName.MatchString(d[1]) {
			bad("%s is %q, want the name of a kernel driver, like xe", d[0], d[1])
		}
	}
	if c.Host.CardIndex != nil && c.Host.PCIAddress != "" {
		bad("host.card_index and host.pci_address: give one of them")
	}
	c.validateModels(bad)
	if c.Host.CardIndex != nil && *c.Host.CardIndex < 0 {
		bad("host.card_index is %d, want 0 or more", *c.Host.CardIndex)
	}
	c.VM.validate(bad)
	for _, scale := range []struct {
		key   string
		value float64
	}{{"timeout_scale", c.TimeoutScale}, {"workload_scale", c.WorkloadScale}} {
		if !(scale.value > 0 && scale.value <= 1000) {
			bad("%s is %v, want more than 0 and at most 1000", scale.key, scale.value)
		}
	}
	return errors.Join(append(errs, c.CI.validate())...)
}

func (c *Config) validateModels(bad func(format string, args ...any)) {
	for _, id := range slices.Sorted(maps.Keys(c.DeviceModels)) {
		if _, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(id), "0x"), 16, 16); err != nil {
			bad("device_models: %q is no PCI device id, want up to four hexadecimal digits, like e20b", id)
		}
		if model := c.DeviceModels[id]; !fileName.MatchString(model) {
			bad("device_models.%s is %q, want the name of a profile file, like Bmg_g21_12", id, model)
		}
	}
}
