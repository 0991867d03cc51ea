package lab

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"vmtb/imagebuild"
	"vmtb/internal/cli/env"
	"vmtb/lab"
)

// Command returns "vmtb lab".
func Command(e *env.Env) *cobra.Command {
	var d dutFlags
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "The emulated machine under test",
		Long: `The lab is a QEMU machine that serves as the machine under test. It has an emulated SR-IOV GPU, an
IOMMU and nested virtualization, so all of vmtb runs in it without a real GPU. See "vmtb help lab".`,
	}
	d.add(cmd)
	cmd.AddCommand(
		buildCommand(e, &d), runCommand(e, &d), speedCommand(e, &d), cleanCommand(e),
		startCommand(e, &d), execCommand(e, &d), shellCommand(e, &d), bisectCommand(e, &d), matrixCommand(e, &d),
		listCommand(e), stopCommand(e), logsCommand(e),
	)
	return cmd
}

// dutFlags say which DUT is built and booted. All commands of the lab have them.
type dutFlags struct {
	packages   []string // Debian packages beside the DUT's own
	gpu        string   // a [lab.GPU]
	properties []string // of that GPU
	migration  bool     // VFs can be saved and migrated
	kernelFlags
}

func (d *dutFlags) add(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringSliceVar(&d.packages, "package", nil,
		"more Debian packages for the DUT: --package=python3-pytest,strace")
	flags.StringVar(&d.gpu, "gpu", "",
		"emulated GPU of the DUT: ptl (integrated) or bmg (with local memory) (default ptl)")
	flags.StringArrayVar(&d.properties, "gpu-property", nil,
		"NAME=VALUE of the emulated GPU, such as a fault (lab/gpu/README.md lists them); may be given more than once")
	flags.BoolVar(&d.migration, "migration", false,
		"xe and xe-vfio-pci built from Debian's source, for flows that save or migrate VFs (such flows select it)")
	d.kernelFlags.add(flags)
}

// check returns a [bench.UsageError] for an unknown GPU, and for other flags that cannot be right.
func (d *dutFlags) check() error {
	return errors.Join(lab.GPU(d.gpu).Check(), lab.CheckProperties(d.properties), d.kernelFlags.check())
}

// buildImages builds the lab's images that are missing or out of date.
func (d *dutFlags) buildImages(ctx context.Context, e *env.Env) (lab.Images, error) {
	dir, err := imagebuild.CacheDir()
	if err != nil {
		return lab.Images{}, err
	}
	o := lab.BuildOptions{
		GPU: lab.GPU(d.gpu), Packages: d.packages, Migration: d.migration,
		DUT: d.dutSide, Guest: d.guestSide,
	}
	return lab.BuildImages(ctx, dir, o, e.Progress("lab"))
}
