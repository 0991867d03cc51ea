package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"vmtb/bench"
)

// Reset resets the DUT as its power button would, and returns when it has booted again. Its disk is what had been
// written to it. It needs [Options.MayReboot].
func (d *DUT) Reset(ctx context.Context) error {
	before, err := d.bootID(ctx)
	if err == nil {
		err = d.QMP().Execute(ctx, "system_reset", nil, nil)
	}
	if err != nil {
		return infra("reset the DUT", err)
	}
	for {
		now, err := d.bootID(ctx)
		switch {
		case err == nil && now != before:
			return d.mount(ctx)
		case ctx.Err() != nil:
			return infra("reset the DUT", errors.Join(context.Cause(ctx), err))
		}
		select { // an agent that is gone and comes back tells nobody
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

func (d *DUT) bootID(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := d.Exec(ctx, bench.Shell("cat /proc/sys/kernel/random/boot_id"))
	if err == nil && !r.OK() {
		err = fmt.Errorf("exit code %d", r.ExitCode)
	}
	return string(bytes.TrimSpace(r.Stdout)), err
}
