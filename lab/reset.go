package lab

import "context"

// Reset resets the DUT as its power button would, and returns when it has booted again. Its disk is what had been
// written to it. It needs [Options.MayReboot].
func (d *DUT) Reset(ctx context.Context) error {
	if err := d.VM.Power().Reset(ctx); err != nil {
		return infra("reset the DUT", err)
	}
	return d.wake(ctx)
}

// Rebooted returns when a DUT that rebooted by itself, as what was asked of it has told by its
// error, is there again. It needs [Options.MayReboot].
func (d *DUT) Rebooted(ctx context.Context) error {
	if err := d.WaitReady(ctx); err != nil {
		return infra("wait for the DUT after its reboot", err)
	}
	return d.wake(ctx)
}
