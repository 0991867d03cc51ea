package lab

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/internal/cli/env"
	"vmtb/lab"
)

func shellCommand(e *env.Env, d *dutFlags) *cobra.Command {
	o := upOptions{dut: d}
	cmd := &cobra.Command{
		Use: "shell", Short: "Open a shell in the lab; boot a lab first if none is up",
		Long: `Opens a shell in the emulated machine under test: in the lab that "vmtb lab start" started. If no
lab is up, it boots one and ends it afterwards. vmtb is in it, with its completion and a configuration for
the lab, and a guest image: /root/guest_os.img. Ctrl-] leaves the shell.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return o.shell(ctx, e)
		},
	}
	o.addName(cmd, e)
	o.addStart(cmd)
	return cmd
}

func (o *upOptions) shell(ctx context.Context, e *env.Env) error {
	if !env.IsTerminal(e.In) {
		return &bench.UsageError{
			Err:    errors.New("vmtb lab shell needs a terminal"),
			Advice: "vmtb lab exec -- COMMAND runs a command without one",
		}
	}
	c, own, release, err := o.enter(ctx, e)
	if err != nil {
		return err
	}
	end := "Ctrl-] leaves; " + c.Name() + " stays up"
	if own {
		end = "Ctrl-] ends the machine"
	}
	info, err := c.Info(ctx)
	if err == nil {
		fmt.Fprintf(e.Err, "lab: %s\n", end)
		err = lab.Attach(ctx, info.State.Sockets, e.In, e.Out)
	}
	return after(e, err, release())
}
