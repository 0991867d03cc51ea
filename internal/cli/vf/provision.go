package vf

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/cli/env"
	"vmtb/internal/pick"
)

// An amount is the value of an optional flag: a number, or a size such as 512M.
type amount struct {
	n    *uint64 // nil if the flag was not given
	size bool
}

// Set implements pflag.Value.
func (a *amount) Set(text string) error {
	if a.size {
		n, err := env.ParseSize(text, 0)
		if err != nil {
			return errors.New("want a size in bytes, or with K, M or G, like 512M")
		}
		a.n = &n
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return errors.New("want a whole number")
	}
	a.n = &n
	return nil
}

// String implements pflag.Value.
func (a *amount) String() string {
	if a.n == nil {
		return ""
	}
	return decimal(*a.n)
}

// Type implements pflag.Value.
func (a *amount) Type() string {
	if a.size {
		return "size"
	}
	return "number"
}

// into sets a field to the amount, if the flag was given.
func (a *amount) into(field *uint64) {
	if a.n != nil {
		*field = *a.n
	}
}

// sliceFlags are the flags for a VF's time slice.
type sliceFlags struct{ quantum, timeout amount }

func (f *sliceFlags) add(cmd *cobra.Command) {
	cmd.Flags().Var(&f.quantum, "eq", "execution quantum of each VF in ms; 0 is infinite")
	cmd.Flags().Var(&f.timeout, "pt", "preemption timeout of each VF in us; 0 is infinite")
}

func (f *sliceFlags) given() bool { return f.quantum.n != nil || f.timeout.n != nil }

func (f *sliceFlags) change(t *vgpu.TimeSlice) {
	f.quantum.into(&t.Quantum)
	f.timeout.into(&t.Timeout)
}

type provisionOptions struct {
	config                          *bench.Config
	vf                              pick.VFName
	ggtt, vram, contexts, doorbells amount
	slice                           sliceFlags
	priority                        string
}

func (o *provisionOptions) quotas() bool {
	return o.ggtt.n != nil || o.vram.n != nil || o.contexts.n != nil || o.doorbells.n != nil
}

func provisionCommand(e *env.Env) *cobra.Command {
	var flags env.ConfigFlags
	o := provisionOptions{ggtt: amount{size: true}, vram: amount{size: true}}
	cmd := &cobra.Command{
		Use:   "provision VF",
		Short: "Change the quotas and the time slice of VFs",
		Long: `Changes the given quotas and times of one VF ("1", "VF1" or its PCI address), or of "all" enabled VFs;
the others stay.

Quotas are GGTT, VRAM (on all tiles together), contexts and doorbells (on each GT). They can be changed for VFs
that "vmtb vf enable" has enabled and no virtual machine uses, or before any VF is enabled:
"vmtb vf enable --profile=none" then keeps them. After the first change the driver leaves automatic
provisioning, and no longer gives VFs anything automatically.

Time slices can be changed at any time. So can the priority. The kernel changes it for the PF and all VFs at once:
use --priority with "all".

"vmtb vf disable" (or "vmtb recover") restores time slices and priority, takes all quotas back and
returns to automatic provisioning; so does a reboot.`,
		Example: `  vmtb vf provision 1 --eq=10 --pt=20000
  vmtb vf provision all --vram=512M --doorbells=32
  vmtb vf provision all --priority=normal`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = changeVFs(&flags, func(c *bench.Config, args []string) (err error) {
		o.config = c
		if o.vf, err = pick.ParseVF(args[0]); err == nil {
			err = o.check()
		}
		return err
	}, func(ctx context.Context) error { return o.run(ctx, e) })
	flags.AddPF(cmd)
	cmd.Flags().Var(&o.ggtt, "ggtt", "address space, like 64M")
	cmd.Flags().Var(&o.vram, "vram", "local memory on all tiles together, like 512M")
	cmd.Flags().Var(&o.contexts, "contexts", "GuC context ids on each GT")
	cmd.Flags().Var(&o.doorbells, "doorbells", "doorbells on each GT")
	o.slice.add(cmd)
	cmd.Flags().StringVar(
		&o.priority, "priority", "",
		"priority of the PF and all VFs: low or normal, with which idle VFs keep their time slices",
	)
	env.CompleteValues(cmd, map[string][]string{"priority": {string(xe.Low), string(xe.Normal)}})
	return cmd
}

func (o *provisionOptions) check() error {
	switch o.priority {
	case "", string(xe.Low), string(xe.Normal):
	default:
		return &bench.UsageError{Err: fmt.Errorf("--priority=%s: want low or normal", o.priority)}
	}
	if o.priority != "" && !o.vf.All() {
		return &bench.UsageError{
			Err:    errors.New("--priority is for the PF and all VFs: the kernel cannot change it for one VF"),
			Advice: `give it with "all" instead of a VF`,
		}
	}
	if !o.quotas() && !o.slice.given() && o.priority == "" {
		return &bench.UsageError{Err: errors.New("no change is given"), Advice: "see vmtb vf provision --help"}
	}
	return nil
}

func (o *provisionOptions) run(ctx context.Context, e *env.Env) error {
	return inSession(ctx, e, func(ctx context.Context, s *session) error {
		pf, err := s.findPF(o.config.Host)
		if err != nil {
			return err
		}
		vfs, err := o.vf.Numbers(pf)
		if err != nil {
			return err
		}
		if o.quotas() {
			if err := s.setQuotas(ctx, pf, *o, vfs); err != nil {
				return err
			}
		}
		if err := s.setSlices(ctx, pf, o.slice, vfs); err != nil || o.priority == "" {
			return err
		}
		return s.step(
			"priority of all: "+o.priority,
			func() error { return pf.Scheduler.SetPriority(ctx, xe.Priority(o.priority)) },
		)
	})
}

// setQuotas changes the quotas of VFs. Undo runs newest first. So the record that returns to
// automatic mode must be older than the records of enabled VFs, or undo would return to automatic
// mode while there are VFs. If an earlier command enabled the VFs, that record exists.
func (s *session) setQuotas(ctx context.Context, pf *xe.PF, o provisionOptions, vfs []int) error {
	if !s.hasEnabled(pf) {
		if err := pf.RememberMode(ctx); err != nil {
			return err
		}
	}
	for _, vf := range vfs {
		if d, err := pf.VF(vf); err == nil { // a VF that is not enabled has no user
			if err := pick.CheckUnused(s.System, d); err != nil {
				return err
			}
		}
		err := s.step(fmt.Sprintf("provision VF%d", vf), func() error { return setQuota(ctx, pf, o, vf) })
		if err != nil {
			return err
		}
	}
	return nil
}

func setQuota(ctx context.Context, pf *xe.PF, o provisionOptions, vf int) error {
	if o.ggtt.n != nil || o.contexts.n != nil || o.doorbells.n != nil {
		q, err := pf.Quotas.Of(vf)
		if err != nil {
			return err
		}
		o.ggtt.into(&q.GGTT)
		o.contexts.into(&q.Contexts)
		o.doorbells.into(&q.Doorbells)
		if err := pf.Quotas.Set(ctx, vf, q); err != nil {
			return err
		}
	}
	if o.vram.n == nil {
		return nil
	}
	return pf.Quotas.SetVRAM(ctx, vf, *o.vram.n)
}

// setSlices changes the time slices of VFs.
func (s *session) setSlices(ctx context.Context, pf *xe.PF, f sliceFlags, vfs []int) error {
	if !f.given() {
		return nil
	}
	for _, vf := range vfs {
		slice, err := pf.Scheduler.TimeSlice(vf)
		// If GTs differ, there is no time slice to change.
		if err != nil && (f.quantum.n == nil || f.timeout.n == nil) {
			return err
		}
		f.change(&slice)
		err = s.step(
			fmt.Sprintf("time slice of VF%d: %s", vf, slice),
			func() error { return pf.Scheduler.SetTimeSlice(ctx, vf, slice) },
		)
		if err != nil {
			return err
		}
	}
	return nil
}
