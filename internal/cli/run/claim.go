package run

import (
	"context"
	"os"
	"slices"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/vm"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/pick"
)

// A hostClaim is what a command needs of the host before it runs flows.
type hostClaim struct {
	command    string // the one that the user typed
	items      []flow.Item
	config     *bench.Config
	mayRecover bool   // the host may be restored if a dead run has left it changed
	resumed    string // directory of a dead run that is no obstacle, because it is resumed
}

// lock locks the host if the items can run on it.
func (c *hostClaim) lock(ctx context.Context, e *env.Env) (unlock func(), err error) {
	needsImage := func(i flow.Item) bool { return slices.Contains(i.Needs, bench.NeedGuestImage) }
	if slices.ContainsFunc(c.items, needsImage) {
		if _, err := pick.GuestImage(ctx, c.config, vm.LookAtImage); err != nil {
			return nil, err
		}
	}
	needsRoot := func(i flow.Item) bool { return !i.Unprivileged }
	if slices.ContainsFunc(c.items, needsRoot) {
		if err := env.CheckRoot(c.command, os.Geteuid()); err != nil {
			return nil, err
		}
	}
	if err := e.State.CheckNoVFsInMachines(); err != nil {
		return nil, err // this says more than the error of a lock that such a machine's run holds
	}
	unlock, err = host.Lock(e.State.LockFile)
	if err != nil {
		return nil, err
	}
	err = e.State.CheckNoVFsInMachines()
	if err == nil {
		err = e.CleanHost(ctx, c.mayRecover, c.resumed)
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}
