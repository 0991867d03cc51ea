package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/internal/cli/machines"
	"vmtb/lab"
)

// upOptions are the flags that choose a running lab, or start one.
type upOptions struct {
	dut   *dutFlags
	name  string
	share string
	once  bool // the lab ends if its kernel dies or reboots
}

func (o *upOptions) addStart(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.share, "share", "",
		"directory of this machine that the lab sees under the same path, and may write to (default: a new one below "+
			flows.ResultsDir+")")
}

func (o *upOptions) addName(cmd *cobra.Command, e *env.Env) {
	cmd.Flags().StringVar(&o.name, "lab", "", "name of the lab (default: the one that is up)")
	// it fails only if there is no such flag, or if it is called twice
	_ = cmd.RegisterFlagCompletionFunc("lab", machines.Complete(e.State.Labs))
}

func startCommand(e *env.Env, d *dutFlags) *cobra.Command {
	o := upOptions{dut: d}
	cmd := &cobra.Command{
		Use: "start [lab]", Short: "Boot a lab that stays up",
		Long: `Boots the emulated machine under test, builds its images first if necessary, and returns when the
lab can be used. It stays up until "vmtb lab stop": "vmtb lab exec" and "vmtb lab shell" use it. It is called lab0
(or the next free number) unless you name it. vmtb is in it, with a configuration for the lab, and so is a guest
image: /root/guest_os.img.`,
		Example: `  vmtb lab start
  vmtb lab exec -- vmtb doctor
  vmtb lab stop`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			o.name = strings.Join(args, "")
			c, err := o.start(ctx, e)
			if err == nil {
				fmt.Fprintln(e.Out, c.Name())
			}
			return err
		},
	}
	o.addStart(cmd)
	return cmd
}

// start boots a lab and sets it up. If that fails, or ctx ends, it leaves nothing behind.
func (o *upOptions) start(ctx context.Context, e *env.Env) (c *keep.Client, err error) {
	if o.name != "" {
		err = keep.CheckName(o.name)
	}
	if err := errors.Join(err, o.dut.check()); err != nil {
		return nil, err
	}
	share, err := sharedDir(o.share)
	if err != nil {
		return nil, err
	}
	images, err := o.dut.buildImages(ctx, e)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(images) // the files must exist until QEMU has opened them
	if err := lab.Give(share); err != nil {
		return nil, err
	}
	options := lab.Options{
		Images: images, Share: share, GPUProperties: o.dut.properties, MayReboot: !o.once,
		Cmdline: o.dut.parameters(), Boot: o.dut.ownKernel(), Progress: e.Progress("lab"),
	}
	err = options.Twice(ctx, func(options lab.Options) (err error) {
		c, err = startDUT(ctx, e, o.name, options)
		return err
	})
	if err == nil {
		options.Progress.Printf("%s is up; %s is the same directory here and there", c.Name(), share)
	}
	return c, err
}

// startDUT starts the machine of a lab. If that fails, it leaves nothing behind.
func startDUT(ctx context.Context, e *env.Env, name string, o lab.Options) (c *keep.Client, err error) {
	spec, started, err := o.Spec(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { started(err) }()
	speed, err := lab.MeasuredSpeed()
	if err != nil {
		return nil, err
	}
	err = o.Progress.Step(lab.Starting(spec), func(io.Writer) error {
		r := keep.Record{Name: name, Spec: spec, Started: time.Now()}
		c, err = e.State.Labs.Start(ctx, r, machines.KeepCommand)
		if err != nil {
			return err
		}
		if err := c.WaitReadyWithin(ctx, speed.BootLimit()); err != nil {
			return err
		}
		return setUpLab(ctx, c, spec)
	})
	if err == nil {
		return c, nil
	}
	if c == nil {
		return nil, err
	}
	return nil, errors.Join(err, c.Kill(context.WithoutCancel(ctx), nil))
}

// sharedDir returns the directory that a lab shares with this machine: the one asked for, or a new
// one.
func sharedDir(asked string) (string, error) {
	if asked == "" {
		return flows.NewRunDir("", "-lab")
	}
	dir, err := filepath.Abs(asked)
	var info os.FileInfo
	if err == nil {
		info, err = os.Stat(dir)
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", dir)
	}
	if err != nil {
		return "", &bench.UsageError{Err: fmt.Errorf("--share: %w", err)}
	}
	return dir, nil
}

// setUpLab sets a lab up after each boot. A reboot unmounts the shared directory.
func setUpLab(ctx context.Context, c *keep.Client, spec vm.Spec) error {
	speed, err := lab.MeasuredSpeed()
	if err != nil {
		return err
	}
	set := lab.SetUp(spec, speed.TimeoutScale())
	r, err := c.Exec(ctx, set, nil)
	if err == nil && !r.OK() {
		err = &bench.InfraError{Op: "lab: set up " + c.Name(), Err: errors.New(bench.Tail(r.Stderr, 3))}
	}
	return err
}
