package vmtb

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

const configName = "vmtb_config.json"

// configFlags are the flags that override the configuration file. They are the same for a run here and in the lab.
type configFlags struct {
	file          string
	image         string
	card          string
	profiles      string
	vnc           string
	firmware      string
	memoryMiB     int
	timeoutScale  float64
	workloadScale float64
	destructive   bool
	warm          bool
	given         func(flag string) bool // on the command line
	search        bool                   // look for a file when none is named
}

func (f *configFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.addPF(cmd)
	f.addProfiles(cmd)
	flags.StringVar(&f.image, "vm-image", "", "guest disk image to boot; it is not changed")
	flags.StringVar(&f.vnc, "vnc", "", "who may see the machines' screens by VNC: off, local (this host), on (with a password made for the run), open (without); default on")
	f.addFirmware(cmd)
	f.addShared(cmd)
}

func (f *configFlags) addFirmware(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.firmware, "firmware", "", "what guests boot with: bios, uefi (OVMF) or the path of a firmware image; default bios")
}

// addPF adds what says which PF is meant. That is all that commands need which run nothing.
func (f *configFlags) addPF(cmd *cobra.Command) {
	f.addFile(cmd)
	cmd.Flags().StringVar(&f.card, "card", "", "the PF: DRM card number or PCI address (default: the only one)")
}

// addFile adds the configuration file of this machine.
func (f *configFlags) addFile(cmd *cobra.Command) {
	f.search, f.given = true, cmd.Flags().Changed
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file (default: "+configName+" here or beside vmtb, if there is one)")
}

func (f *configFlags) addProfiles(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.profiles, "vgpu-profiles", "", "directory of vGPU profile files, which win over those built in")
}

// addLab adds what makes sense in the lab.
func (f *configFlags) addLab(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file for the emulated machine under test")
	f.addShared(cmd)
}

func (f *configFlags) addShared(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.given = flags.Changed
	flags.Var(newMebibytes(&f.memoryMiB, 0), "vm-memory", "memory of each guest, like 4G; a bare number is MiB")
	flags.Float64Var(&f.timeoutScale, "timeout-scale", 0, "multiply every deadline")
	flags.Float64Var(&f.workloadScale, "workload-scale", 0, "multiply the amounts of work that flows give to GPUs, and the waits that belong to it")
}

// addWarm adds what is for commands that start machines.
func (f *configFlags) addWarm(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.warm, "warm", false, "machines go on from the state of one like them that has booted, instead of booting, where a flow allows it")
}

// hideRunFlags leaves flags out of the help of a command that runs no flow and gives out no vGPU profile. They are still
// taken, so that one set of flags serves all commands.
func hideRunFlags(cmd *cobra.Command) {
	for _, name := range []string{"workload-scale", "vgpu-profiles"} {
		if f := cmd.Flags().Lookup(name); f != nil {
			f.Hidden = true
		}
	}
}

// load reads the configuration file, if there is one, and applies the flags. used is the file's path or "".
func (f *configFlags) load() (c *bench.Config, used string, err error) {
	c, used, err = readConfig(f.file, f.search)
	if err != nil {
		return nil, "", err
	}
	if f.image != "" {
		c.Guest.OSImage = f.image
	}
	if f.profiles != "" {
		c.Resources.VGPUProfilesPath = f.profiles
	}
	if err := errors.Join(checkProfiles(c, used), checkWsim(c, used), f.setFirmware(c)); err != nil {
		return nil, "", err
	}
	if f.given("vm-memory") {
		c.VM.MemoryMiB = f.memoryMiB
	}
	if f.given("vnc") {
		c.VM.VNC = f.vnc
	}
	if f.given("warm") {
		c.VM.Warm = f.warm
	}
	if f.given("timeout-scale") {
		c.TimeoutScale = f.timeoutScale
	}
	if f.given("workload-scale") {
		c.WorkloadScale = f.workloadScale
	}
	if f.destructive {
		c.AllowDestructive, c.Destructive = true, true
	}
	if f.card != "" {
		if err := setCard(&c.Host, f.card); err != nil {
			return nil, "", err
		}
	}
	if err := checkAddress(c); err != nil {
		return nil, "", err
	}
	if err := c.Validate(); err != nil {
		return nil, "", &bench.UsageError{Err: err}
	}
	return c, used, nil
}

func (f *configFlags) setFirmware(c *bench.Config) (err error) {
	if !f.given("firmware") {
		return nil
	}
	c.VM.Firmware = f.firmware
	if strings.Contains(f.firmware, "/") { // others are names
		c.VM.Firmware, err = filepath.Abs(f.firmware)
	}
	return err
}

// checkAddress completes the PCI address of a configuration file.
func checkAddress(c *bench.Config) error {
	if c.Host.PCIAddress == "" {
		return nil
	}
	address, err := pci.Parse(c.Host.PCIAddress)
	if err != nil {
		return &bench.UsageError{Err: fmt.Errorf("host.pci_address: %w", err), Advice: "like 0000:03:00.0"}
	}
	c.Host.PCIAddress = string(address)
	return nil
}

func setCard(h *bench.HostConfig, card string) error {
	h.CardIndex, h.PCIAddress = nil, ""
	if n, err := strconv.Atoi(card); err == nil {
		h.CardIndex = &n
		return nil
	}
	address, err := pci.Parse(card)
	if err != nil {
		return &bench.UsageError{Err: fmt.Errorf("--card %q is neither a card number nor a PCI address", card), Advice: "like 0 or 0000:03:00.0"}
	}
	h.PCIAddress = string(address)
	return nil
}

func readConfig(path string, search bool) (c *bench.Config, used string, err error) {
	var candidates []string
	switch {
	case path != "":
		candidates = []string{path}
	case search:
		candidates = []string{configName}
		if exe, err := os.Executable(); err == nil {
			candidates = append(candidates, filepath.Join(filepath.Dir(exe), configName))
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

// checkProfiles refuses a directory of vGPU profiles that is not there, and files in it that are broken, unless it is the one that the Python tool's
// configuration names: for that one the files built in serve.
func checkProfiles(c *bench.Config, configFile string) error {
	dir := c.Resources.VGPUProfilesPath
	if dir == filepath.Join(filepath.Dir(configFile), bench.DefaultVGPUProfilesPath) {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return &bench.UsageError{Err: fmt.Errorf("vGPU profiles: %w", err), Advice: "--vgpu-profiles, or resources.vgpu_profiles_path in the configuration, names a directory"}
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

// checkWsim refuses a directory of workload descriptors that is not there, with the same exception.
func checkWsim(c *bench.Config, configFile string) error {
	dir := c.Resources.WsimPath
	if dir == filepath.Join(filepath.Dir(configFile), bench.DefaultWsimPath) {
		return nil
	}
	if _, err := os.ReadDir(dir); err != nil {
		return &bench.UsageError{Err: fmt.Errorf("workload descriptors: %w", err), Advice: "resources.wsim_wl_path in the configuration names a directory"}
	}
	return nil
}
