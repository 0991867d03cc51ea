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

// A Config is the content of vmtb_config.json. It has the keys of the Python tool, which load
// unchanged, and our own keys, which all have defaults. Keys that the Python tool reads and never
// uses are accepted and marked "unused".
type Config struct {
	Host      HostConfig      `json:"host"`
	Guest     GuestConfig     `json:"guest"`
	Resources ResourcesConfig `json:"resources"`
	CI        CIConfig        `json:"ci"`

	VM VMConfig `json:"vm"` // ours: the shape of every virtual machine
	// DeviceModels (ours) maps a PCI device id ("e20b") to the name of a vGPU profile file
	// ("Bmg_g21_12.json"). It takes precedence over the built-in table.
	DeviceModels map[string]string `json:"device_models"`
	// Ours: multiplies every deadline, 1 by default.
	TimeoutScale float64 `json:"timeout_scale"`

	// WorkloadScale (ours) multiplies amounts of work, and the waits that are part of a flow's
	// test. The default is 1.
	WorkloadScale float64 `json:"workload_scale"`

	// AllowDestructive (ours) allows flows that harm a machine in use. In the lab they always run.
	AllowDestructive bool `json:"allow_destructive"`

	// Destructive is the flag --destructive. It includes AllowDestructive, and allows flows known
	// to crash the kernel if they are selected by name. No configuration file can set it.
	Destructive bool `json:"-"`
}

// A HostConfig names the PF and its driver.
type HostConfig struct {
	// DRM card number of the PF; without it, the host's only PF is used.
	CardIndex  *int       `json:"card_index"`
	PCIAddress PCIAddress `json:"pci_address"` // ours: of the PF, instead of card_index
	// PF driver; "<driver>-vfio-pci" is its vendor VFIO variant.
	Driver string    `json:"driver"`
	IGT    IGTConfig `json:"igt"`
}

// A GuestConfig names the guest image, and the driver and programs in the guest.
type GuestConfig struct {
	OSImage string    `json:"os_image"` // relative to the working directory, as in the Python tool
	Driver  string    `json:"driver"`
	IGT     IGTConfig `json:"igt"`

	// Kernel (ours) names the kernel that guests boot instead of the image's own. Paths in it are relative
	// to the working directory.
	Kernel string `json:"kernel"`
	// Cmdline (ours) is added to the command line of that kernel.
	Cmdline string `json:"cmdline"`
}

// An IGTConfig says where IGT is on a machine.
type IGTConfig struct {
	TestDir   string `json:"test_dir"`
	ToolDir   string `json:"tool_dir"`
	LibDir    string `json:"lib_dir"`
	ResultDir string `json:"result_dir"`
	Options   string `json:"options"` // of every igt_runner call
}

// A ResourcesConfig names directories. Paths are relative to the configuration file.
type ResourcesConfig struct {
	VGPUProfilesPath string `json:"vgpu_profiles_path"`
	WsimPath         string `json:"wsim_wl_path"`
	GuCPath          string `json:"guc_ver_path"` // unused
}

// A CIConfig has settings for the reports of a CI run.
type CIConfig struct {
	HostDmesgFile string `json:"host_dmesg_file"` // unused
	// KCIDBOrigin names the CI system that reports to KCIDB: lower-case letters, digits and "_". ""
	// stands for "vmtb".
	KCIDBOrigin string `json:"kcidb_origin"`
	// KCIDBBuildID identifies the tested build: "origin:id". If it is "", vmtb makes one from the
	// running kernel.
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
	// VNC says who may see the screens: "off", "local", "on" or "open". "" leaves the choice to the
	// command: see Screens.
	VNC string `json:"vnc"`
	// SSHPort is the port on the host's loopback for the guest's SSH; the machine's number is added
	// to it. 0 takes any free port. Without SSHPort, SSH is not forwarded.
	SSHPort *int `json:"ssh_port"`
	// Warm lets machines start from the saved state of an equal machine that has booted, where the
	// flow allows it.
	Warm      bool     `json:"warm"`
	ExtraArgs []string `json:"extra_args"`

	// Boot is the kernel of [GuestConfig.Kernel], once its files are made. No configuration file can set
	// it.
	Boot *GuestBoot `json:"-"`
}

// A GuestBoot is a kernel that QEMU boots instead of the one in a guest's image.
type GuestBoot struct {
	Image, Initrd, Cmdline string
	Release                string // "7.2.13+deb14-amd64"
}

// VNCModes are the values of [VMConfig.VNC].
var VNCModes = []string{"off", "local", "on", "open"}

// Screens returns VNC, or usual if VNC is not set.
func (c VMConfig) Screens(usual string) string { return cmp.Or(c.VNC, usual) }

// NeedGuestImage is the name of the precondition of flows that boot [GuestConfig.OSImage]. A run of
// such a flow is refused before it begins if the image is missing.
const NeedGuestImage = "guest image"

// These are the directories of the Python tool's own files. If a configuration names one of them,
// and vmtb does not have it, the files built into vmtb are used.
const (
	DefaultVGPUProfilesPath = "vmm_flows/resources/vgpu_profiles"
	DefaultWsimPath         = "vmm_flows/resources/wsim"
)

// DefaultConfig returns the configuration of an empty file. The values of shared keys are the
// Python tool's.
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

// ParseConfig parses data, the content of the file at path, on top of the defaults. It makes
// directories relative to the file. Anything unknown is a [UsageError] with file, line, column and
// key.
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

	// KCIDB's schema allows these values.
	kcidbOrigin = regexp.MustCompile(`^[a-z0-9_]+$`)
	kcidbBuild  = regexp.MustCompile(`^[a-z0-9_]+:[^\x00]+$`)
)

// validate checks the values of a VMConfig, and reports each wrong one with bad.
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

// Validate checks the rules that the types cannot express.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, d := range [][2]string{{"host.driver", c.Host.Driver}, {"guest.driver", c.Guest.Driver}} {
		if !driverName.MatchString(d[1]) {
			bad("%s is %q, want the name of a kernel driver, like xe", d[0], d[1])
		}
	}
	if c.Guest.Cmdline != "" && c.Guest.Kernel == "" {
		bad("guest.cmdline (--guest-cmdline) needs guest.kernel (--guest-kernel): the image's own kernel has its " +
			"command line in the image")
	}
	if strings.ContainsAny(c.Guest.Cmdline, "\n\x00") {
		bad("guest.cmdline is %q, want one line", c.Guest.Cmdline)
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
			bad("device_models: %q is not a PCI device id, want up to four hexadecimal digits, like e20b", id)
		}
		if model := c.DeviceModels[id]; !fileName.MatchString(model) {
			bad("device_models.%s is %q, want the name of a profile file, like Bmg_g21_12", id, model)
		}
	}
}
