package vmtb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/xe"
)

const configName = "vmtb_config.json"

// configFlags are the flags that override the configuration file. They are the same for a run here and in the lab.
type configFlags struct {
	file         string
	image        string
	card         string
	profiles     string
	memoryMiB    int
	timeoutScale float64
	given        func(flag string) bool // on the command line
}

func (f *configFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.image, "vm-image", "", "guest disk image to boot; it is not changed")
	flags.StringVar(&f.card, "card", "", "the PF: DRM card number or PCI address (default: the only one)")
	flags.StringVar(&f.profiles, "vgpu-profiles", "", "directory of vGPU profile files, which win over those built in")
	f.addShared(cmd)
}

// addShared adds what makes sense in the lab, too.
func (f *configFlags) addShared(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.file, "config", "", "configuration file (default: "+configName+" here or beside vmtb, if there is one)")
	f.given = flags.Changed
	flags.IntVar(&f.memoryMiB, "vm-memory", 0, "memory of each guest in MiB")
	flags.Float64Var(&f.timeoutScale, "timeout-scale", 0, "multiply every deadline")
}

// load reads the configuration file, if there is one, and applies the flags. used is the file's path or "".
func (f *configFlags) load() (c *bench.Config, used string, err error) {
	c, used, err = readConfig(f.file)
	if err != nil {
		return nil, "", err
	}
	if f.image != "" {
		c.Guest.OSImage = f.image
	}
	if f.profiles != "" {
		c.Resources.VGPUProfilesPath = f.profiles
	}
	if err := checkProfiles(c, used); err != nil {
		return nil, "", err
	}
	if f.given("vm-memory") {
		c.VM.MemoryMiB = f.memoryMiB
	}
	if f.given("timeout-scale") {
		c.TimeoutScale = f.timeoutScale
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

func readConfig(path string) (c *bench.Config, used string, err error) {
	candidates := []string{path}
	if path == "" {
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
			_, err = xe.ParseModel(file, data)
		}
		if err != nil {
			return &bench.UsageError{Err: fmt.Errorf("vGPU profiles: %w", err)}
		}
	}
	return nil
}
