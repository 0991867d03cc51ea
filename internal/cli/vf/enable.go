package vf

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/cli/env"
	"vmtb/internal/pick"
	"vmtb/internal/prose"
)

// These values of --profile are not names of profiles, and these values of --bind are not drivers.
const (
	profileAuto = vgpu.ProfileAuto
	profileFit  = vgpu.ProfileFit
	profileKeep = "none" // keep the current provisioning

	bindVFIO = "vfio" // the vendor's VFIO driver, or vfio-pci
	bindNone = "none"
)

type enableOptions struct {
	config  *bench.Config
	n       int
	profile string // one of the values above, or a name
	mode    vgpu.SchedulerMode
	slice   sliceFlags
	bind    string
	asJSON  bool
}

func enableCommand(e *env.Env) *cobra.Command {
	var flags env.ConfigFlags
	var o enableOptions
	var mode string
	cmd := &cobra.Command{
		Use:   "enable N",
		Short: "Enable N VFs, provisioned and ready for virtual machines",
		Long: `Enables N VFs and lists them. In this order it loads the drivers that are not loaded, provisions
the PF, keeps the host's drivers off VFs (sriov_drivers_autoprobe), enables the VFs (sriov_numvfs) and gives
them to the VFIO driver, with which "-device vfio-pci,host=ADDRESS" gives one to a QEMU. It checks each step.
If a step fails, it undoes the earlier steps.

--profile selects the resources of each VF:
  auto   a fair share, by the driver; --sched=INFINITE is the default then
  fit    the quotas of the GPU's vGPU profile for N VFs, as flows with VGPU_PROFILE have them;
         --sched=DEFAULT_PROFILE is the default then
  NAME   the quotas of the vGPU profile of that name, such as Bmg_6
  none   the resources that "vmtb vf provision" gave it before

"auto", "fit" and a NAME first take all resources from the VFs. The changes stay until "vmtb vf disable"
(or "vmtb recover"), which restores the host and makes provisioning automatic again, or until a reboot.`,
		Example: `  vmtb vf enable 2
  vmtb vf enable 4 --profile=fit --sched=FLEXIBLE_30FPS
  vmtb vf enable 1 --eq=10 --pt=20000 --bind=none`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = changeVFs(&flags, func(c *bench.Config, args []string) (err error) {
		o.config = c
		if o.n, err = strconv.Atoi(args[0]); err != nil || o.n < 1 {
			return &bench.UsageError{
				Err:    fmt.Errorf("%q is not a number of VFs", args[0]),
				Advice: "give 1 or more, up to the number that the PF supports; vmtb vf disable disables them",
			}
		}
		if err = checkBind(o.bind); err == nil {
			o.mode, err = parseMode(mode, o.profile)
		}
		if err == nil && mode != "" && o.slice.given() {
			err = &bench.UsageError{
				Err:    fmt.Errorf("--sched=%s cannot be combined with --eq or --pt", mode),
				Advice: "give --sched, or --eq and --pt",
			}
		}
		return err
	}, func(ctx context.Context) error { return o.run(ctx, e) })
	flags.AddPF(cmd)
	flags.AddProfiles(cmd)
	cmd.Flags().StringVar(
		&o.profile, "profile", profileAuto, "resources of each VF: auto, fit, none or the NAME of a vGPU profile",
	)
	cmd.Flags().StringVar(&mode, "sched", "", "how GPU time is shared: "+strings.Join(modeNames(), ", "))
	o.slice.add(cmd)
	cmd.Flags().StringVar(
		&o.bind, "bind", bindVFIO,
		"driver of the VFs on this host: vfio (xe-vfio-pci, or else vfio-pci), none, or its name",
	)
	addListJSON(cmd, &o.asJSON)
	env.CompleteValues(cmd, map[string][]string{
		"bind":    append([]string{bindVFIO, bindNone}, bindDrivers...),
		"profile": {profileAuto, profileFit, profileKeep},
		"sched":   modeNames(),
	})
	return cmd
}

var modes = []vgpu.SchedulerMode{
	vgpu.Infinite, vgpu.DefaultProfile, vgpu.Flexible30FPS, vgpu.Fixed30FPS, vgpu.FlexibleBurstableQoS,
}

func modeNames() []string {
	names := make([]string, len(modes))
	for i, m := range modes {
		names[i] = string(m)
	}
	return names
}

// parseMode parses --sched. Without it the default depends on the profile: with quotas it is
// DEFAULT_PROFILE.
func parseMode(text, profile string) (vgpu.SchedulerMode, error) {
	mode := vgpu.SchedulerMode(strings.ToUpper(text))
	switch {
	case text == "" && (profile == profileAuto || profile == profileKeep):
		return vgpu.Infinite, nil
	case text == "", mode == "DEFAULT":
		mode = vgpu.DefaultProfile
	}
	if profile == profileKeep && text != "" {
		return "", &bench.UsageError{
			Err:    fmt.Errorf("--sched=%s has no effect with --profile=none, which changes no provisioning", text),
			Advice: `"vmtb vf provision" sets time slices`,
		}
	}
	if !slices.Contains(modes, mode) {
		return "", &bench.UsageError{
			Err:    fmt.Errorf("--sched=%s: there is no such scheduler profile", text),
			Advice: "there are " + strings.Join(modeNames(), ", "),
		}
	}
	return mode, nil
}

func (o *enableOptions) run(ctx context.Context, e *env.Env) error {
	err := inSession(ctx, e, func(ctx context.Context, s *session) error { return s.enable(ctx, *o) })
	if err != nil {
		return err
	}
	list := listOptions{o.config.Host, o.asJSON}
	return list.run(e)
}

func (s *session) enable(ctx context.Context, o enableOptions) error {
	driver, err := s.loadDrivers(ctx, o)
	if err != nil {
		return err
	}
	pf, err := s.findPF(o.config.Host)
	if err != nil {
		return err
	}
	if err := checkNone(pf); err != nil {
		return err
	}
	if err := s.prepare(ctx, pf, o); err != nil {
		return err
	}
	var vfs []*pci.Device
	err = s.step("enable "+prose.Count(o.n, "VF"), func() (err error) {
		vfs, err = pf.EnableVFs(ctx, o.n)
		return err
	})
	if err != nil || driver == "" {
		return err
	}
	return s.step("bind them to "+driver, func() error {
		for _, vf := range vfs {
			if err := vf.Bind(ctx, driver); err != nil {
				return err
			}
		}
		return nil
	})
}

// loadDrivers loads the drivers of the PF and of VFs, and returns the second: "" for none.
func (s *session) loadDrivers(ctx context.Context, o enableOptions) (vfs string, err error) {
	err = s.step("load drivers", func() (err error) {
		driver := o.config.Host.Driver
		switch o.bind {
		case bindVFIO:
			vfs, err = s.host.LoadDrivers(ctx, s.log, driver)
		case bindNone:
			err = s.host.LoadModule(ctx, s.log, driver)
		default:
			vfs = o.bind
			if err = s.host.LoadModule(ctx, s.log, driver); err == nil {
				err = s.host.LoadModule(ctx, s.log, vfs)
			}
		}
		return err
	})
	if err == nil && pick.IsVFIO(vfs) {
		err = s.host.CheckIOMMU()
	}
	return vfs, err
}

// checkNone returns an error if the PF has VFs. The kernel changes their number only from and to 0.
func checkNone(pf *xe.PF) error {
	n, err := pf.NumVFs()
	if err == nil && n > 0 {
		err = &bench.HostError{
			Op: "enable VFs of", Noun: string(pf.Address),
			Err:    fmt.Errorf("%d are enabled already: %w", n, syscall.EBUSY),
			Advice: `"vmtb vf list" shows them, "vmtb vf disable" disables them`,
		}
	}
	return err
}

// prepare provisions the PF.
func (s *session) prepare(ctx context.Context, pf *xe.PF, o enableOptions) error {
	if err := pf.CheckCount(o.n); err != nil {
		return err
	}
	if o.profile == profileKeep {
		if err := pf.RememberMode(ctx); err != nil {
			return err
		}
		return s.setSlices(ctx, pf, o.slice, pick.FirstVFs(o.n))
	}
	plan, err := planVFs(pf, o)
	if err != nil {
		return err
	}
	return s.step(
		fmt.Sprintf("provision %s: %s, %s", prose.Count(o.n, "VF"), o.profile, plan.Scheduling.VF),
		func() error { return pf.Provision(ctx, plan) },
	)
}

// planVFs returns the plan for provisioning the PF.
func planVFs(pf *xe.PF, o enableOptions) (vgpu.Plan, error) {
	plan, _, err := vgpu.PlanFor(o.n, o.profile, o.mode, func() (*vgpu.Model, error) {
		return pf.Model(o.config.DeviceModels, o.config.Resources.VGPUProfilesPath)
	})
	o.slice.change(&plan.Scheduling.VF)
	return plan, err
}
