package lab

import "context"

// Reset resets the DUT like its reset button, and returns when it has booted again. Its disk keeps
// the data written so far. Reset needs [Options.MayReboot].
func (d *DUT) Reset(ctx context.Context) error {
	if err := d.VM.Power().Reset(ctx); err != nil {
		return infra("reset the DUT", err)
	}
	return d.wake(ctx)
}

// Rebooted waits until a DUT that has rebooted by itself is usable again. Call it after an error
// that shows the reboot. It needs [Options.MayReboot].
func (d *DUT) Rebooted(ctx context.Context) error {
	if err := d.WaitReady(ctx); err != nil {
		return infra("wait for the DUT after its reboot", err)
	}
	return d.wake(ctx)
}
