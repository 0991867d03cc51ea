package host

import (
	"github.com/spf13/cobra"

	"vmtb/internal/cli/env"
)

// doctorOptions are the flags of "vmtb doctor".
type doctorOptions struct {
	env.ConfigFlags
	asJSON bool
	deep   bool
}

// DoctorCommand returns "vmtb doctor".
func DoctorCommand(e *env.Env) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check that this machine can run flows, and print remedies",
		Long: `Checks everything that runs need on this machine, with the configuration of "vmtb run":
rights, IOMMU, the PF's driver and its VFs, VFIO, QEMU and KVM, disk, guest image, IGT, leftovers of earlier
runs, kernel log. It also checks whether "vmtb vm", "vmtb lab" and "vmtb image build", which need no GPU, would
work here. It changes nothing. The exit code is 0 unless a check is bad; a warning names flows that will be skipped, or
parts that will be slow or not work.`,
		Example: `  vmtb doctor --vm-image=guest_os.img
  vmtb doctor --deep --vm-image=guest_os.img   # boots the image, and checks the guest`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, _, err := o.Load()
			if err != nil {
				return err
			}
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return e.PrintChecks(ctx, e.Target(config, o.deep).CheckHost, o.asJSON)
		},
	}
	o.Add(cmd)
	env.HideRunFlags(cmd)
	cmd.Flags().BoolVar(&o.deep, "deep", false, "boot the guest image, and check the agent, the driver and IGT in it")
	cmd.Flags().BoolVar(
		&o.asJSON, "json", false,
		"print an array of objects: check, health (ok, skip, warn, bad), found, remedy; the last one counts the others",
	)
	return cmd
}
