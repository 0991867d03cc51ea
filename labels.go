package vmtb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/xe"
	"vmtb/internal/labels"
)

// labelsFile has the labels of the operator of this machine.
const labelsFile = "/etc/vmtb/labels"

func (a *app) labelsCommand() *cobra.Command {
	var flags configFlags
	var format, file string
	cmd := &cobra.Command{
		Use:   "labels",
		Short: "Print what this machine can do, for engines that choose machines by it",
		Long: `Prints what is known of this machine as labels, NAME=VALUE: its GPU, driver, VFs, kernel, QEMU and more, and the
operator's own from ` + labelsFile + `. What is not there has no label. --format has the words of other engines: tags
of LAVA (one a line), the features of a node of Slurm, tags of a GitLab runner. Changes nothing. "vmtb help merge" tells
how engines use them.`,
		Example: `  vmtb labels
  vmtb labels --format=slurm`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, _, err := flags.load()
			if err != nil {
				return err
			}
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			own, err := readLabels(file, cmd.Flags().Changed("file"))
			if err != nil {
				return err
			}
			set := a.newPatient(config, false).labels(ctx)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			for name, value := range own { // the operator knows best
				set[name] = value
			}
			if err := set.Write(a.out, format); err != nil {
				return &bench.UsageError{Err: err}
			}
			return nil
		},
	}
	flags.addPF(cmd)
	cmd.Flags().StringVar(&format, "format", "text", strings.Join(labels.Formats, ", "))
	cmd.Flags().StringVar(&file, "file", labelsFile, "file with the operator's labels")
	return cmd
}

// readLabels reads the operator's file. One that was not asked for need not be there.
func readLabels(file string, asked bool) (labels.Set, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !asked {
		return nil, nil
	}
	var own labels.Set
	if err == nil {
		own, err = labels.Parse(file, data)
	}
	if err != nil {
		return nil, &bench.UsageError{Err: fmt.Errorf("labels: %w", err)}
	}
	return own, nil
}

// yesNo is the value of a label that says whether something is so.
func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// labels are what is found out about this machine, without changing it.
func (p *patient) labels(ctx context.Context) labels.Set {
	s := labels.Set{}
	s.Put("vmtb", version)
	s.Put("arch", runtime.GOARCH)
	s.Put("cpus", strconv.Itoa(runtime.NumCPU()))
	s.Put("kernel", p.text("/proc/sys/kernel/osrelease"))
	s.Put("lab", yesNo(p.host.InLab()))
	s.Put("ram", memory(p.text("/proc/meminfo")))
	p.labelGPU(s)
	vendor := p.config.Host.Driver + "-vfio-pci"
	for _, name := range []string{"vfio-pci", vendor} {
		if there, err := p.host.ModuleExists(ctx, name); err == nil && there {
			s.Put("variant", name)
		}
	}
	s.Put("migration", yesNo(s["variant"] == vendor))
	if m := versionRE.FindStringSubmatch(p.said(ctx, p.config.VM.QEMU, "--version")); m != nil {
		s.Put("qemu", m[1]+"."+m[2])
	}
	accel, err := p.accel(ctx)
	s.Put("kvm", yesNo(err == nil && accel.Name == "kvm"))
	s.Put("iommu", p.iommu())
	return s
}

// labelGPU adds what is known of the PF, or of Intel's GPU if no driver has it.
func (p *patient) labelGPU(s labels.Set) {
	pf, err := xe.FindPF(p.host.Tree(nil), selector(p.config.Host)) // without a journal: nothing is changed
	if err != nil {
		s.Put("vfs", "0")
		for _, name := range p.intelGPUs() {
			if ids, err := pci.At(p.host.Tree(nil), pci.Address(name)).IDs(); err == nil {
				s.Put("pci", ids.String())
				s.Put("gpu", xe.Codename(ids.Device))
			}
		}
		return
	}
	if ids, err := pf.IDs(); err == nil {
		s.Put("pci", ids.String())
		s.Put("gpu", xe.Codename(ids.Device))
	}
	if n, err := pf.TotalVFs(); err == nil {
		s.Put("vfs", strconv.Itoa(n))
	}
	s.Put("driver", pf.Driver())
	s.Put("gts", strconv.Itoa(len(pf.GTs)))
	s.Put("vram", yesNo(pf.VRAM))
	s.Put("guc", foundVersion(firmware(p.text("/sys/kernel/debug/dri/"+string(pf.Address)+"/gt0/uc/guc_info"))))
	s.Put("sysfs", "debugfs")
	if _, err := p.host.System.ReadDir(pf.Dir() + "/sriov_admin"); err == nil {
		s.Put("sysfs", "sriov_admin")
	}
}

// intelGPUs are the addresses of Intel's display controllers.
func (p *patient) intelGPUs() (found []string) {
	const devices = "/sys/bus/pci/devices"
	entries, _ := p.host.System.ReadDir(devices) // a machine without PCI has no such directory
	for _, e := range entries {
		dir := devices + "/" + e.Name()
		if p.text(dir+"/vendor") == "0x8086" && strings.HasPrefix(p.text(dir+"/class"), "0x03") { // PCI_BASE_CLASS_DISPLAY
			found = append(found, e.Name())
		}
	}
	return found
}

// iommu is the kind of the IOMMU in use: "intel", "amd", or the name that the kernel gives it.
func (p *patient) iommu() string {
	entries, _ := p.host.System.ReadDir("/sys/class/iommu") // none without an IOMMU
	if len(entries) == 0 {
		return "none"
	}
	switch name := entries[0].Name(); {
	case strings.HasPrefix(name, "dmar"):
		return "intel"
	case strings.HasPrefix(name, "ivhd"):
		return "amd"
	default:
		return name
	}
}

var (
	memTotal     = regexp.MustCompile(`(?m)^MemTotal:\s+([0-9]+) kB`)
	firmwareWord = regexp.MustCompile(`found ([0-9]+(?:\.[0-9]+)+)`)
)

// memory is the memory of the machine from /proc/meminfo, in whole GiB: "62G".
func memory(meminfo string) string {
	m := memTotal.FindStringSubmatch(meminfo)
	if m == nil {
		return ""
	}
	kib, _ := strconv.ParseUint(m[1], 10, 64) // digits
	return strconv.FormatUint(kib>>20, 10) + "G"
}

// foundVersion is the version in what [firmware] returns.
func foundVersion(text string) string {
	if m := firmwareWord.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}
