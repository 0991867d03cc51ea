package machines

import (
	"context"
	"errors"
	"fmt"
	"io"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/internal/cli/env"
	"vmtb/internal/hoststate"
)

// EndOptions say which machines of Store to end, and how.
type EndOptions struct {
	Store keep.Store
	All   bool
	What  string // the action, for the progress: "shut down"
	End   func(ctx context.Context, c *keep.Client, progress func(string)) error
}

// Run ends the machines with these names, or all.
func (o *EndOptions) Run(ctx context.Context, e *env.Env, names []string) error {
	if o.All == (len(names) > 0) {
		return &bench.UsageError{
			Err: errors.New("want the names of machines, or --all"), Advice: "vmtb vm list shows them",
		}
	}
	if o.All {
		living, err := hoststate.Living(o.Store)
		if err != nil {
			return err
		}
		for _, r := range living {
			names = append(names, r.Name)
		}
	}
	ctx, stop := env.CancelOnInterrupt(ctx)
	defer stop()
	var errs []error
	for _, name := range names {
		c, err := o.Store.Open(name)
		if err == nil {
			err = e.Progress(name).Step(o.What, func(log io.Writer) error {
				return o.End(ctx, c, func(s string) { fmt.Fprintln(log, s) })
			})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
