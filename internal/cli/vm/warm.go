package vm

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/vm"
	"vmtb/bench/vm/warm"
	"vmtb/bench/xe"
	"vmtb/internal/cli/env"
	"vmtb/internal/pick"
)

// warmOptions are the flags of "vmtb vm warm".
type warmOptions struct {
	startOptions
	vfs int
}

func warmCommand(e *env.Env) *cobra.Command {
	var o warmOptions
	cmd := &cobra.Command{
		Use:   "warm",
		Short: "Boot a machine, and save its state for machines started with --warm",
		Long: `Boots a guest image in a machine without VFs, and saves its state. Machines of "vmtb run --warm"
and "vmtb vm start --warm" continue from this state instead of booting, if they have the same image, CPUs, memory and
QEMU, and as many VFs. They make the state themselves if there is none: this command makes it in advance.`,
		Example: `  vmtb vm warm --vm-image=guest_os.img`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return o.run(ctx, e)
		},
	}
	o.Add(cmd)
	o.AddKernel(cmd, "")
	env.HideRunFlags(cmd)
	cmd.Flags().IntVar(&o.vfs, "vfs", 1, "how many VFs each of these machines gets")
	cmd.Flags().IntVar(&o.cpus, "cpus", 0, "CPUs of the guest")
	_ = cmd.Flags().MarkHidden("vnc") // it fails only if there is no such flag
	return cmd
}

func (o *warmOptions) run(ctx context.Context, e *env.Env) error {
	config, _, err := o.Load()
	if err != nil {
		return err
	}
	keepFiles, err := o.prepareKernel(ctx, e, config)
	if err != nil {
		return err
	}
	defer keepFiles()
	spec, err := o.spec(config)
	if err != nil {
		return err
	}
	spec.Name = "vm0"
	if o.vfs < 0 {
		return &bench.UsageError{Err: fmt.Errorf("--vfs=%d: want 0 or more", o.vfs)}
	}
	if o.vfs > 0 {
		// without a journal: nothing is changed
		pf, err := xe.FindPF(host.New(e.System).Tree(nil), pick.GPU(config.Host))
		if err != nil {
			return err
		}
		window, err := pf.VFWindow()
		if err != nil {
			return err
		}
		for range o.vfs {
			spec.VFs = append(spec.VFs, vm.VF{Host: pf.Address, WindowMiB: window})
		}
	}
	if err := spec.Validate(); err != nil {
		return err
	}
	if _, err := pick.GuestImage(ctx, config, vm.LookAtImage); err != nil {
		return err
	}
	booted, err := takeSlot(ctx, e, spec.Name)
	if err != nil {
		return err
	}
	defer booted()
	_, started, err := e.State.Warm.Prepare(ctx, spec, warmPreparation(e, config))
	started(nil)
	return err
}

// warmPreparation returns how to prepare the state of a machine that a user starts.
func warmPreparation(e *env.Env, config *bench.Config) warm.Options {
	return warm.Options{
		VM: vm.Options{Scale: cmp.Or(config.TimeoutScale, 1)}, Progress: e.Progress("vm"),
	}.AndLoad(config.Guest.Driver)
}
