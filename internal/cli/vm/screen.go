package vm

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/machines"
	"vmtb/internal/cli/output"
)

func vncCommand(e *env.Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "vnc machine", Short: "Show where a machine's VNC server is, and its password",
		Args: cobra.ExactArgs(1), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(e, func(ctx context.Context, c *keep.Client, _ []string) error {
			info, err := c.Info(ctx)
			if err != nil {
				return err
			}
			if info.State.VNC == "" {
				return &bench.UsageError{
					Err:    fmt.Errorf("machine %s has no VNC server", info.Name),
					Advice: "vmtb vm start --vnc=local gives it one",
				}
			}
			if asJSON {
				return output.Print(e.Out, output.Screen{
					Address: info.State.VNC, Listens: info.State.VNCListens, Password: info.State.Password,
				})
			}
			fmt.Fprintf(
				e.Out, "address   %s\npassword  %s\nlistens   %s\n", info.State.VNC, env.OrDash(info.State.Password),
				info.State.VNCListens,
			)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}

func screenshotCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "screenshot machine [file]",
		Short: "Take a picture of a machine's screen, as PNG (default: MACHINE.png; - is standard output)",
		Args:  cobra.RangeArgs(1, 2), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(e, func(ctx context.Context, c *keep.Client, args []string) error {
			file := append(args, c.Name()+".png")[0]
			if file == "-" {
				return c.Screenshot(ctx, e.Out)
			}
			path, err := filepath.Abs(file)
			if err != nil {
				return err
			}
			if err := writeWhole(file, func(w io.Writer) error { return c.Screenshot(ctx, w) }); err != nil {
				return err
			}
			fmt.Fprintln(e.Out, path)
			return nil
		}),
	}
}
