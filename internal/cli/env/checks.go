package env

import (
	"context"
	"time"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/cli/output"
	"vmtb/internal/doctor"
)

// Target returns the target of the checks of package doctor: this machine, and the guest image of a
// configuration. If deep is true, the checks of the machine also boot the image.
func (e *Env) Target(config *bench.Config, deep bool) *doctor.Target {
	own := *config
	own.Guest.Kernel = "" // checks boot the image's own kernel
	return doctor.New(e.System, doctor.Options{
		Config: &own, State: e.State, Deep: deep, Warnings: e.Err,
		Booting: func(what, console string, limit time.Duration, wait func() error) error {
			return e.Booting("guest", what, console, limit, wait)
		},
	})
}

// PrintChecks runs checks and prints their results. The error is an [ExitCode] if one of them is
// bad.
func (e *Env) PrintChecks(
	ctx context.Context, checks func(context.Context, func(doctor.Result)) ([]doctor.Result, error), asJSON bool,
) error {
	each := func(r doctor.Result) { r.Print(e.Out) }
	if asJSON {
		each = func(doctor.Result) {}
	}
	results, err := checks(ctx, each)
	if err == nil && asJSON {
		err = output.Print(e.Out, results)
	}
	if err == nil && doctor.AnyBad(results) {
		err = ExitCode(flow.ExitError)
	}
	return err
}
