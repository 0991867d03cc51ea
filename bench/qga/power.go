package qga

import (
	"context"
	"errors"

	"vmtb/bench/qmp"
)

// Shutdown asks the guest to shut down. mode is "powerdown", "reboot" or "halt". The agent does not
// report success. Shutdown returns nil if it sent the request and no refusal came for 2 s (times
// Scale), or the connection or ctx ended. QEMU's SHUTDOWN or RESET event confirms that the guest
// obeyed.
func (c *Client) Shutdown(ctx context.Context, mode string) error {
	o, err := c.BeginShutdown(ctx, mode)
	if err != nil {
		return err
	}
	return o.Refusal(ctx)
}

// An Order is a sent command that the agent answers only if it fails.
type Order struct {
	client *Client
	call   *call
}

// BeginShutdown is [Client.Shutdown] without the wait.
func (c *Client) BeginShutdown(ctx context.Context, mode string) (*Order, error) {
	return c.begin(ctx, "guest-shutdown", map[string]any{"mode": mode})
}

// BeginSuspend asks the guest to sleep. mode is "ram", "disk" or "hybrid". QEMU's SUSPEND event
// confirms that the guest sleeps.
func (c *Client) BeginSuspend(ctx context.Context, mode string) (*Order, error) {
	return c.begin(ctx, "guest-suspend-"+mode, nil)
}

func (c *Client) begin(ctx context.Context, cmd string, args any) (*Order, error) {
	call, err := c.send(ctx, cmd, args)
	if err != nil {
		return nil, err
	}
	c.synced.Store(false) // the next command may reach another boot of the guest
	return &Order{c, call}, nil
}

// Refusal waits for the agent to refuse the order. It must be called once. It returns nil if no
// refusal came for 2 s (times Scale), or the connection or ctx ended.
func (o *Order) Refusal(ctx context.Context) error {
	defer o.call.Forget()
	ctx, cancel := context.WithTimeout(ctx, o.client.scaled(graceTime))
	defer cancel()
	err := o.call.Wait(ctx, nil)
	if errors.As(err, new(*qmp.Error)) {
		return asDisabled(err)
	}
	return nil
}
