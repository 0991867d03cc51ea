package vmtb

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/vm"
	"vmtb/bench/vm/warm"
	"vmtb/bench/xe"
)

// vmWarmOptions are the flags of "vmtb vm warm".
type vmWarmOptions struct {
	vmStartOptions
	vfs int
}

func (a *app) vmWarmCommand() *cobra.Command {
	var o vmWarmOptions
	cmd := &cobra.Command{
		Use:   "warm",
		Short: "Boot a machine for those of --warm to go on from",
		Long: `Boots a guest image in a machine without VFs, and keeps its state. Machines of "vmtb run --warm" and "vmtb vm start --warm" go on
from there, if they have the same image, shape, QEMU and as many VFs, instead of booting. They make such a state themselves
when there is none, so this is for those who want it to be there before.`,
		Example: `  vmtb vm warm --vm-image=guest_os.img`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			return a.vmWarm(ctx, o)
		},
	}
	o.add(cmd)
	hideRunFlags(cmd)
	cmd.Flags().IntVar(&o.vfs, "vfs", 1, "how many VFs each of these machines gets")
	cmd.Flags().IntVar(&o.cpus, "cpus", 0, "CPUs of the guest")
	_ = cmd.Flags().MarkHidden("vnc") // a flag that is there
	return cmd
}

func (a *app) vmWarm(ctx context.Context, o vmWarmOptions) error {
	config, _, err := o.load()
	if err != nil {
		return err
	}
	spec, err := o.spec(config)
	if err != nil {
		return err
	}
	spec.Name = "vm0"
	if o.vfs < 0 {
		return &bench.UsageError{Err: fmt.Errorf("--vfs=%d: want 0 or more", o.vfs)}
	}
	if o.vfs > 0 {
		pf, err := xe.FindPF(host.New(a.system).Tree(nil), selector(config.Host)) // without a journal: nothing is changed
		if err != nil {
			return err
		}
		window, err := pf.VFWindow()
		if err != nil {
			return err
		}
		for range o.vfs {
			spec.VFs = append(spec.VFs, vm.VF{Host: string(pf.Address), WindowMiB: window})
		}
	}
	if err := spec.Validate(); err != nil {
		return err
	}
	if _, err := guestImage(ctx, config, vm.LookAtImage); err != nil {
		return err
	}
	_, started, err := a.state.states.Prepare(ctx, spec, a.warmOptions(config))
	started(nil)
	return err
}

// warmOptions are those of machines that people start.
func (a *app) warmOptions(config *bench.Config) warm.Options {
	show := a.progress("vm")
	return warm.Options{
		VM: vm.Options{Scale: cmp.Or(config.TimeoutScale, 1)},
		Step: func(ctx context.Context, title string, do func(context.Context) error) error {
			return show.Step(title, func(io.Writer) error { return do(ctx) })
		},
	}.AndLoad(config.Guest.Driver)
}
