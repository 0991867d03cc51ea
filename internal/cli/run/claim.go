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

// A hostClaim has the conditions under which a command may use the host for flows.
type hostClaim struct {
	command    string // the command that the user typed
	items      []flow.Item
	config     *bench.Config
	mayRecover bool   // the host may be restored if a dead run has left it changed
	resumed    string // directory of a dead run to ignore, because it is resumed
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
		// This error says more than that of the lock, which such a machine's run holds.
		return nil, err
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
