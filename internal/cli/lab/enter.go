package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/hoststate"
	"vmtb/internal/prose"
	"vmtb/lab"
)

// runningLab returns the lab with that name, or the running one if name is "". It returns nil if
// none is running.
func runningLab(e *env.Env, name string) (*keep.Client, error) {
	if name != "" {
		return e.State.Labs.Open(name)
	}
	living, err := hoststate.Living(e.State.Labs)
	if err != nil || len(living) == 0 {
		return nil, err
	}
	if len(living) > 1 {
		var names []string
		for _, r := range living {
			names = append(names, r.Name)
		}
		return nil, &bench.UsageError{
			Err:    fmt.Errorf("%d labs are up: %s", len(names), strings.Join(names, ", ")),
			Advice: "--lab=NAME selects one",
		}
	}
	return e.State.Labs.Open(living[0].Name)
}

// enter returns a lab to work in: the running one, or a new one, which release ends.
func (o *upOptions) enter(
	ctx context.Context, e *env.Env,
) (c *keep.Client, own bool, release func() error, err error) {
	c, err = runningLab(e, o.name)
	if err != nil {
		return nil, false, nil, err
	}
	if c == nil {
		fresh := *o
		fresh.name = ""
		if c, err = fresh.start(ctx, e); err != nil {
			return nil, false, nil, err
		}
		return c, true, func() error { return c.Kill(context.WithoutCancel(ctx), nil) }, nil
	}
	if o.share != "" || len(o.dut.properties) > 0 || o.dut.given() {
		return nil, false, nil, &bench.UsageError{
			Err: fmt.Errorf(
				"--gpu-property, --share and the flags of kernels need a new lab, but %s is up", c.Name(),
			),
			Advice: "vmtb lab stop ends it",
		}
	}
	return c, false, func() error { return nil }, o.ready(ctx, e, c)
}

// after returns the error of a command, err, or the error of its clean-up, left. If both failed, it
// prints the second.
func after(e *env.Env, err, left error) error {
	if left == nil || err == nil {
		return errors.Join(err, left)
	}
	fmt.Fprintf(e.Err, "vmtb: %s\n", ansi.Printable(left.Error()))
	return err
}

// ready waits until a lab has booted that another command has started, or that has rebooted.
func (o *upOptions) ready(ctx context.Context, e *env.Env, c *keep.Client) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	if !info.State.Agent && info.State.State == vm.Running {
		speed, speedErr := lab.MeasuredSpeed()
		if speedErr != nil {
			return speedErr
		}
		what := fmt.Sprintf("%s is booting; waiting up to %s for it", c.Name(), prose.Exact(speed.BootLimit()))
		err = e.Step("lab", what, func() error { return c.WaitReadyWithin(ctx, speed.BootLimit()) })
	}
	if gpu := lab.GPU(o.dut.gpu); gpu != "" && gpu != lab.GPUOf(info.Spec) {
		return &bench.UsageError{
			Err:    fmt.Errorf("--gpu=%s: lab %s, which is up, has --gpu=%s", gpu, c.Name(), lab.GPUOf(info.Spec)),
			Advice: "vmtb lab stop ends it",
		}
	}
	if err == nil {
		err = setUpLab(ctx, c, info.Spec)
	}
	return err
}
