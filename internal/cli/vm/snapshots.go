package vm

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench/keep"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/machines"
	"vmtb/internal/cli/output"
)

// snapshotsOptions are the flags of "vmtb vm snapshots".
type snapshotsOptions struct {
	asJSON bool
	remove string // the tag of the snapshot to delete, "" to list them
}

func saveCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "save machine tag", Short: "Save the state of a machine and its VFs as a snapshot in its disk",
		Args: cobra.ExactArgs(2), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(e, func(ctx context.Context, c *keep.Client, args []string) error {
			return e.Step(c.Name(), "save "+args[0], func() error { return c.SaveSnapshot(ctx, args[0]) })
		}),
	}
}

func restoreCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "restore machine tag", Short: "Restore a machine's state from a snapshot",
		Args: cobra.ExactArgs(2), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(e, func(ctx context.Context, c *keep.Client, args []string) error {
			return e.Step(c.Name(), "restore "+args[0], func() error { return c.LoadSnapshot(ctx, args[0]) })
		}),
	}
}

func snapshotsCommand(e *env.Env) *cobra.Command {
	var o snapshotsOptions
	cmd := &cobra.Command{
		Use: "snapshots machine", Short: "List a machine's snapshots, or delete one",
		Args: cobra.ExactArgs(1), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(e, func(ctx context.Context, c *keep.Client, _ []string) error {
			return o.run(ctx, e, c)
		}),
	}
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print an array of objects")
	cmd.Flags().StringVar(&o.remove, "delete", "", "delete the snapshot with this tag")
	return cmd
}

func (o *snapshotsOptions) run(ctx context.Context, e *env.Env, c *keep.Client) error {
	if o.remove != "" {
		return c.DeleteSnapshot(ctx, o.remove)
	}
	list, err := c.Snapshots(ctx)
	if err != nil {
		return err
	}
	if o.asJSON {
		view := []output.Snapshot{} // an empty list must not be null
		for _, s := range list {
			view = append(view, output.Snapshot(s))
		}
		return output.Print(e.Out, view)
	}
	if len(list) == 0 {
		fmt.Fprintln(e.Out, "No snapshots.")
	}
	for _, s := range list {
		fmt.Fprintf(
			e.Out, "%-20s %s  %s\n", ansi.Printable(s.Tag), s.Time.Format(time.DateTime), env.MiB(uint64(s.Size)),
		)
	}
	return nil
}
