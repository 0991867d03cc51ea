package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/bench/vm/warm"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/guestkernel"
	"vmtb/internal/cli/machines"
	"vmtb/internal/pick"
)

// startOptions are the flags of "vmtb vm start".
type startOptions struct {
	env.ConfigFlags
	vfs     []string
	cpus    int
	ssh     int
	sshPort int
	direct  bool
	vga     bool
	noWait  bool
}

func startCommand(e *env.Env) *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:   "start [machine]",
		Short: "Start a machine that outlives the command",
		Long: `Boots a guest image and returns when the guest's agent answers. The machine is called vm0
(or the next free number) unless you name it. It outlives this command, and so does its keeper, the process that
holds it. Changes to the disk are lost with the machine, unless --direct is given. VFs must be enabled and bound to a
VFIO driver: "vmtb vf enable" does both.`,
		Example: `  vmtb vm start --vm-image=guest_os.img
  vmtb vm start --vm-image=guest_os.img --kernel=$HOME/linux
  vmtb vf enable 2 && vmtb vm start --vm-image=guest_os.img --vf=1 gpu`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return o.run(ctx, e, args)
		},
	}
	o.Add(cmd)
	o.AddKernel(cmd, "")
	o.AddWarm(cmd)
	env.HideRunFlags(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(
		&o.vfs, "vf", nil, "VF that the machine gets, by number or PCI address; may be given more than once",
	)
	flags.IntVar(&o.cpus, "cpus", 0, "CPUs of the guest")
	flags.IntVar(
		&o.sshPort, "ssh-port", 0, "port of the host's loopback that leads to the guest's port 22; 0 takes a free one",
	)
	flags.Var((*optionalPort)(&o.ssh), "ssh",
		"like --ssh-port, but `[=PORT]` needs the equals sign; --ssh alone takes a free port")
	flags.Lookup("ssh").NoOptDefVal = anyPort
	flags.Lookup("vnc").Usage = "who may see the machine's screen by VNC: off, local (this host), on (with a " +
		"password), open (without a password); default local"
	flags.BoolVar(&o.direct, "direct", false, "let the guest write to the image itself")
	flags.BoolVar(&o.vga, "vga", false, "give the machine a VGA card, so that it has a screen")
	flags.BoolVar(&o.noWait, "no-wait", false, "return when QEMU runs; do not wait for the guest's agent")
	return cmd
}

// anyPort is the value that pflag sets for a flag of type "count" without a value. With other
// values the help would show "[=VALUE]".
const anyPort = "+1"

// An optionalPort is the value of --ssh. 0, for which anyPort stands, takes a free port.
type optionalPort int

func (p *optionalPort) Type() string   { return "count" }
func (p *optionalPort) String() string { return strconv.Itoa(int(*p)) }

func (p *optionalPort) Set(s string) error {
	if s == anyPort {
		s = "0"
	}
	n, err := strconv.Atoi(s)
	*p = optionalPort(n)
	return err
}

func (o *startOptions) run(ctx context.Context, e *env.Env, args []string) error {
	config, _, err := o.Load()
	if err != nil {
		return err
	}
	// At most one name; a machine without a name gets one from the store.
	name := strings.Join(args, "")
	if name != "" {
		if err := errors.Join(keep.CheckName(name), o.checkPort(name)); err != nil {
			return err
		}
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
	named := spec
	named.Name = cmp.Or(name, "vm0")
	if err := named.Validate(); err != nil {
		return err
	}
	if _, err := pick.GuestImage(ctx, config, vm.LookAtImage); err != nil {
		return err
	}
	unlock, err := assign(e, &spec.VFs, config, o.vfs)
	if err != nil {
		return err
	}
	defer unlock()
	if !o.noWait {
		booted, err := takeSlot(ctx, e, named.Name)
		if err != nil {
			return err
		}
		defer booted()
	}
	start := func(spec vm.Spec) error {
		r := keep.Record{Name: name, Spec: spec, Scale: config.TimeoutScale, Started: time.Now()}
		return startKept(ctx, e, r, !o.noWait)
	}
	if !config.VM.Warm {
		return start(spec)
	}
	if why := warm.Unfit(spec); why != "" {
		return &bench.UsageError{Err: fmt.Errorf("--warm: %s", why), Advice: "leave out --warm: the machine boots"}
	}
	spec, started, err := e.State.Warm.Prepare(ctx, spec, warmPreparation(e, config))
	if err == nil {
		err = start(spec)
	}
	started(err)
	return err
}

// prepareKernel makes the files of the kernel that the machine boots instead of its image's.
func (o *startOptions) prepareKernel(ctx context.Context, e *env.Env, config *bench.Config) (func(), error) {
	if config.Guest.Kernel != "" && o.direct {
		return nil, &bench.UsageError{
			Err:    errors.New("--kernel puts modules on the disk, and --direct would keep them in the image"),
			Advice: "leave out one of them",
		}
	}
	return guestkernel.Prepare(ctx, e, config, "--kernel")
}

// takeSlot waits until the host has a CPU to boot one more machine. The caller calls booted when
// the machine has booted.
func takeSlot(ctx context.Context, e *env.Env, name string) (booted func(), err error) {
	return e.State.Boots.Take(ctx, func(slots int, wait func() error) error {
		what := fmt.Sprintf("waiting until other machines have booted (this host boots %d at once: one per CPU)", slots)
		return e.Step(name, what, wait)
	})
}

// checkPort returns an error for "--ssh 2222", which would start a machine named 2222: the value of
// the flag needs the equals sign.
func (o *startOptions) checkPort(name string) error {
	digits := strings.Trim(name, "0123456789") == ""
	if !digits || !o.Given("ssh") || o.ssh != 0 {
		return nil
	}
	return &bench.UsageError{
		Err:    fmt.Errorf("--ssh %s means a machine called %[1]s and any port", name),
		Advice: fmt.Sprintf("--ssh-port=%s selects the port", name),
	}
}

// startKept starts a machine and its keeper, and waits until the guest has booted.
func startKept(ctx context.Context, e *env.Env, r keep.Record, wait bool) error {
	var c *keep.Client
	err := e.Step(cmp.Or(r.Name, "vm"), "starting QEMU", func() (err error) {
		c, err = e.State.Machines.Start(ctx, r, machines.KeepCommand)
		return err
	})
	if err != nil {
		return err
	}
	name := c.Name()
	if wait {
		what := "booting " + r.Spec.Disks[0].Image
		if r.Spec.State != "" {
			what = "waiting for its guest"
		}
		err = awaitBoot(ctx, e, c, what)
	}
	switch {
	case err == nil:
		fmt.Fprintln(e.Out, name)
		return nil
	case ctx.Err() != nil: // the user has interrupted the wait
		return errors.Join(err, c.Kill(context.WithoutCancel(ctx), nil))
	}
	if _, gone := e.State.Machines.Open(name); gone == nil {
		fmt.Fprintf(
			e.Err, "vmtb: %s still runs: \"vmtb vm console %[1]s\" shows its console, \"vmtb vm off %[1]s\" ends it\n",
			name,
		)
	}
	return err
}

// awaitBoot waits until a guest has booted. Meanwhile it shows the console, and the limit of the
// wait.
func awaitBoot(ctx context.Context, e *env.Env, c *keep.Client, what string) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	return e.Booting(c.Name(), what, consoleOf(info), info.State.Boot, func() error { return c.WaitReady(ctx) })
}

// consoleOf returns the file with the console of a machine.
func consoleOf(info keep.Info) string { return filepath.Join(info.State.Logs, "console.log") }

// spec returns the machine that the configuration and the flags describe, without its name and VFs.
func (o *startOptions) spec(c *bench.Config) (vm.Spec, error) {
	image, err := filepath.Abs(c.Guest.OSImage) // the keeper has another working directory
	if err != nil {
		return vm.Spec{}, err
	}
	s := vm.SpecFor(c.VM, image)
	s.VNC.Mode = vm.VNCMode(c.VM.Screens(string(vm.VNCLocal)))
	if o.Given("cpus") {
		s.CPUs = o.cpus
	}
	if o.Given("ssh") || o.Given("ssh-port") {
		s.SSH = vm.SSH{Forward: true, Port: cmp.Or(o.sshPort, o.ssh)}
	} else if p := c.VM.SSHPort; p != nil {
		s.SSH = vm.SSH{Forward: true, Port: *p}
	}
	if o.direct {
		s.Disks[0].Access = vm.Direct
	}
	if o.vga {
		s.Devices = append(s.Devices, "VGA")
	}
	return s, nil
}
