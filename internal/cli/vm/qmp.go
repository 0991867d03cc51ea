package vm

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/machines"
	"vmtb/internal/cli/output"
)

// qmpOptions are the flags of "vmtb vm qmp".
type qmpOptions struct {
	agent bool // the command is for the guest's agent
}

func qmpCommand(e *env.Env) *cobra.Command {
	var o qmpOptions
	cmd := &cobra.Command{
		Use:   "qmp machine command [arguments]",
		Short: "Give a command to QEMU's monitor, or to the guest's agent, and print its reply",
		Example: `  vmtb vm qmp vm0 query-status
  vmtb vm qmp vm0 human-monitor-command '{"command-line": "info pci"}'
  vmtb vm qmp --agent vm0 guest-get-osinfo`,
		Args: cobra.RangeArgs(2, 3), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(
			e, func(ctx context.Context, c *keep.Client, args []string) error { return o.run(ctx, e, c, args) },
		),
	}
	cmd.Flags().BoolVar(&o.agent, "agent", false, "give the command to the guest's agent instead")
	return cmd
}

func (o *qmpOptions) run(ctx context.Context, e *env.Env, c *keep.Client, args []string) error {
	var object json.RawMessage
	if len(args) > 1 {
		object = json.RawMessage(args[1])
		if err := json.Unmarshal(object, new(map[string]any)); err != nil {
			return &bench.UsageError{Err: fmt.Errorf("arguments %s: want a JSON object: %w", args[1], err)}
		}
	}
	ask := c.QMP
	if o.agent {
		ask = c.Agent
	}
	reply, err := ask(ctx, args[0], object)
	if err != nil {
		return err
	}
	return output.Print(e.Out, reply)
}
