package qga

import (
	"context"
	"slices"
	"time"
)

// Info is the agent's version and its commands.
type Info struct {
	Version  string
	Commands []CommandInfo `json:"supported_commands"`
}

// CommandInfo describes a command of the agent.
type CommandInfo struct {
	Name    string
	Enabled bool
	Replies bool `json:"success-response"` // false: answers only if it fails
}

// Info returns the agent's version and its commands.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var i Info
	err := c.Execute(ctx, "guest-info", nil, &i)
	return i, err
}

// Check returns nil if the agent offers all of cmds. Otherwise it returns a [*CommandDisabled] for
// the first missing one.
func (i Info) Check(cmds ...string) error {
	for _, cmd := range cmds {
		at := slices.IndexFunc(i.Commands, func(c CommandInfo) bool { return c.Name == cmd })
		switch {
		case at < 0:
			return &CommandDisabled{Cmd: cmd, Desc: "guest agent " + i.Version + " does not have this command"}
		case !i.Commands[at].Enabled:
			return &CommandDisabled{Cmd: cmd, Desc: "the guest agent's configuration forbids this command"}
		}
	}
	return nil
}

// Time returns the guest's clock.
func (c *Client) Time(ctx context.Context) (time.Time, error) {
	var ns int64
	err := c.Execute(ctx, "guest-get-time", nil, &ns)
	return time.Unix(0, ns), err
}

// SetTime sets the guest's clock, and then its hardware clock with hwclock(8). An error may mean
// that only the second step failed.
func (c *Client) SetTime(ctx context.Context, now time.Time) error {
	return c.Execute(ctx, "guest-set-time", map[string]any{"time": now.UnixNano()}, nil)
}
