package env

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/xe/vgpu"
)

// ConfigName is the name of the configuration file in the working directory, or beside vmtb.
const ConfigName = "vmtb_config.json"

// ConfigFlags are the flags that choose and override the configuration file. A field is the value
// of its flag.
type ConfigFlags struct {
	File          string // --config
	Image         string // --vm-image
	Kernel        string // --guest-kernel, or --kernel of commands about one machine
	Cmdline       string // --guest-cmdline, or --cmdline
	Card          string
	Profiles      string // --vgpu-profiles
	VNC           string
	Firmware      string
	MemoryMiB     int // --vm-memory
	TimeoutScale  float64
	WorkloadScale float64
	Destructive   bool
	Warm          bool

	Given  func(flag string) bool // reports whether a flag is on the command line
	search bool                   // use ConfigName if no file is named
}

// Add adds all these flags.
func (f *ConfigFlags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.AddPF(cmd)
	f.AddProfiles(cmd)
	flags.StringVar(&f.Image, "vm-image", "", "guest disk image to boot; it is not changed")
	flags.StringVar(
		&f.VNC, "vnc", "",
		"who may see the machines' screens by VNC: off, local (this host), on (with a password made for the run), "+
			"open (without a password); default on",
	)
	f.AddFirmware(cmd)
	f.AddShared(cmd)
	CompleteValues(cmd, map[string][]string{"vnc": bench.VNCModes})
}

// KernelKinds are the values of flags that name a kernel.
const KernelKinds = "a version of Debian's archive (7.2, 6.18.15), a built kernel tree, a kernel's .deb, or " +
	"BZIMAGE:MODULES-DIRECTORY (see \"vmtb help kernels\")"

// AddKernel adds --kernel and --cmdline, with a prefix.
func (f *ConfigFlags) AddKernel(cmd *cobra.Command, prefix string) {
	flags := cmd.Flags()
	flags.StringVar(&f.Kernel, prefix+"kernel", "", "kernel that guests boot instead of the image's: "+KernelKinds)
	flags.StringVar(
		&f.Cmdline, prefix+"cmdline", "",
		"additional parameters for the command line of the kernel of --"+prefix+"kernel",
	)
}

// AddFirmware adds --firmware.
func (f *ConfigFlags) AddFirmware(cmd *cobra.Command) {
	cmd.Flags().StringVar(
		&f.Firmware, "firmware", "",
		"firmware of the guests: bios, uefi (OVMF) or the path of a firmware image; default bios",
	)
}

// AddPF adds the flags that choose the PF. Commands that run nothing need only those.
func (f *ConfigFlags) AddPF(cmd *cobra.Command) {
	f.AddFile(cmd)
	cmd.Flags().StringVar(&f.Card, "card", "", "the PF: DRM card number or PCI address (default: the only one)")
}

// AddFile adds --config for this machine.
func (f *ConfigFlags) AddFile(cmd *cobra.Command) {
	f.search, f.Given = true, cmd.Flags().Changed
	cmd.Flags().StringVar(
		&f.File, "config", "", "configuration file (default: "+ConfigName+" here or beside vmtb, if there is one)",
	)
}

// AddProfiles adds --vgpu-profiles.
func (f *ConfigFlags) AddProfiles(cmd *cobra.Command) {
	cmd.Flags().StringVar(
		&f.Profiles, "vgpu-profiles", "", "directory of vGPU profile files; they override the built-in ones",
	)
}

// AddLab adds the flags that make sense for a run in the lab.
func (f *ConfigFlags) AddLab(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.File, "config", "", "configuration file for the emulated machine under test")
	f.AddShared(cmd)
}

// AddShared adds the flags that make sense for a run here and in the lab.
func (f *ConfigFlags) AddShared(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.Given = flags.Changed
	flags.Var(NewMebibytes(&f.MemoryMiB, 0), "vm-memory", "memory of each guest, like 4G; a bare number is MiB")
	flags.Float64Var(&f.TimeoutScale, "timeout-scale", 0, "multiply every deadline")
	flags.Float64Var(
		&f.WorkloadScale, "workload-scale", 0,
		"multiply the amount of work of flows, and the waits that belong to it",
	)
}

// AddWarm adds --warm, for commands that start machines.
func (f *ConfigFlags) AddWarm(cmd *cobra.Command) {
	cmd.Flags().BoolVar(
		&f.Warm, "warm", false,
		"start machines from the saved state of a machine of the same shape, where a flow allows it",
	)
}

// HideRunFlags hides flags from the help of a command that runs no flow and uses no vGPU profile.
// The command still accepts them, so that one set of flags serves all commands.
func HideRunFlags(cmd *cobra.Command) {
	for _, name := range []string{"workload-scale", "vgpu-profiles"} {
		if f := cmd.Flags().Lookup(name); f != nil {
			f.Hidden = true
		}
	}
}

// Load reads the configuration file, if there is one, and applies the flags. used is the path of
// the file, or "".
func (f *ConfigFlags) Load() (c *bench.Config, used string, err error) {
	c, used, err = readConfig(f.File, f.search)
	if err != nil {
		return nil, "", err
	}
	if f.Image != "" {
		c.Guest.OSImage = f.Image
	}
	if f.Kernel != "" {
		c.Guest.Kernel = f.Kernel
	}
	if f.Cmdline != "" {
		c.Guest.Cmdline = strings.TrimSpace(f.Cmdline)
	}
	if f.Profiles != "" {
		c.Resources.VGPUProfilesPath = f.Profiles
	}
	if err := errors.Join(checkProfiles(c, used), checkWsim(c, used), f.setFirmware(c)); err != nil {
		return nil, "", err
	}
	if f.Given("vm-memory") {
		c.VM.MemoryMiB = f.MemoryMiB
	}
	if f.Given("vnc") {
		c.VM.VNC = f.VNC
	}
	if f.Given("warm") {
		c.VM.Warm = f.Warm
	}
	if f.Given("timeout-scale") {
		c.TimeoutScale = f.TimeoutScale
	}
	if f.Given("workload-scale") {
		c.WorkloadScale = f.WorkloadScale
	}
	if f.Destructive {
		c.AllowDestructive, c.Destructive = true, true
	}
	if f.Card != "" {
		if err := setCard(&c.Host, f.Card); err != nil {
			return nil, "", err
		}
	}
	if err := c.Validate(); err != nil {
		return nil, "", &bench.UsageError{Err: err}
	}
	return c, used, nil
}

func (f *ConfigFlags) setFirmware(c *bench.Config) (err error) {
	if !f.Given("firmware") {
		return nil
	}
	c.VM.Firmware = f.Firmware
	if strings.Contains(f.Firmware, "/") { // without a slash it is a name
		c.VM.Firmware, err = filepath.Abs(f.Firmware)
	}
	return err
}

func setCard(h *bench.HostConfig, card string) error {
	h.CardIndex, h.PCIAddress = nil, ""
	if n, err := strconv.Atoi(card); err == nil {
		h.CardIndex = &n
		return nil
	}
	address, err := pci.Parse(card)
	if err != nil {
		return &bench.UsageError{
			Err:    fmt.Errorf("--card %q is neither a card number nor a PCI address", card),
			Advice: "like 0 or 0000:03:00.0",
		}
	}
	h.PCIAddress = address
	return nil
}

func readConfig(path string, search bool) (c *bench.Config, used string, err error) {
	var candidates []string
	switch {
	case path != "":
		candidates = []string{path}
	case search:
		candidates = []string{ConfigName}
		if exe, err := os.Executable(); err == nil {
			candidates = append(candidates, filepath.Join(filepath.Dir(exe), ConfigName))
		}
	}
	for _, candidate := range candidates {
		data, err := os.ReadFile(candidate)
		if errors.Is(err, fs.ErrNotExist) && path == "" {
			continue
		}
		if err != nil {
			return nil, "", &bench.UsageError{Err: fmt.Errorf("configuration file: %w", err)}
		}
		c, err := bench.ParseConfig(candidate, data)
		return c, candidate, err
	}
	return bench.DefaultConfig(), "", nil
}

// checkProfiles returns an error if the directory of vGPU profiles is missing or has a broken file.
// The directory that the Python tool's configuration names may be missing: the built-in files are
// used instead.
func checkProfiles(c *bench.Config, configFile string) error {
	dir := c.Resources.VGPUProfilesPath
	if dir == filepath.Join(filepath.Dir(configFile), bench.DefaultVGPUProfilesPath) {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return &bench.UsageError{
			Err:    fmt.Errorf("vGPU profiles: %w", err),
			Advice: "--vgpu-profiles, or resources.vgpu_profiles_path in the configuration, names a directory",
		}
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		file := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(file)
		if err == nil {
			_, err = vgpu.ParseModel(file, data)
		}
		if err != nil {
			return &bench.UsageError{Err: fmt.Errorf("vGPU profiles: %w", err)}
		}
	}
	return nil
}

// checkWsim returns an error if the directory of workload descriptors is missing, with the same
// exception.
func checkWsim(c *bench.Config, configFile string) error {
	dir := c.Resources.WsimPath
	if dir == filepath.Join(filepath.Dir(configFile), bench.DefaultWsimPath) {
		return nil
	}
	if _, err := os.ReadDir(dir); err != nil {
		return &bench.UsageError{
			Err:    fmt.Errorf("workload descriptors: %w", err),
			Advice: "resources.wsim_wl_path in the configuration names a directory",
		}
	}
	return nil
}
