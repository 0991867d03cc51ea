package qga

import (
	"context"
	"errors"

	"vmtb/bench/qmp"
)

// Shutdown asks the guest to end: mode is "powerdown", "reboot" or "halt". Success has no reply. Shutdown returns nil
// when the request is out and no refusal came for 2 s (times Scale), the connection ended, or ctx did. That it worked
// is for QEMU to say (its SHUTDOWN or RESET event).
func (c *Client) Shutdown(ctx context.Context, mode string) error {
	return c.order(ctx, "guest-shutdown", map[string]any{"mode": mode})
}

// Suspend asks the guest to sleep: mode is "ram", "disk" or "hybrid". It returns as [Client.Shutdown] does; success is
// QEMU's SUSPEND event.
func (c *Client) Suspend(ctx context.Context, mode string) error {
	return c.order(ctx, "guest-suspend-"+mode, nil)
}

// order sends a command that answers only if it fails.
func (c *Client) order(ctx context.Context, cmd string, args any) error {
	call, err := c.send(ctx, cmd, args)
	if err != nil {
		return err
	}
	defer call.Forget()
	c.synced.Store(false) // the next command may reach another boot of the guest
	ctx, cancel := context.WithTimeout(ctx, c.scaled(graceTime))
	defer cancel()
	err = call.Wait(ctx, nil)
	var refusal *qmp.Error
	if errors.As(err, &refusal) {
		return asDisabled(err)
	}
	return nil
}
