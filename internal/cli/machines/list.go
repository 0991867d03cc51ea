package machines

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/output"
	"vmtb/internal/prose"
)

// listOptions are the flags of "vmtb vm list".
type listOptions struct {
	all    bool
	asJSON bool
}

// ListCommand returns the command that lists the machines of a store.
func ListCommand(e *env.Env, store keep.Store) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls", "ps"}, Short: "List machines: state, VFs, access, logs",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return o.run(ctx, e, store)
		},
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "also list machines that have ended and whose logs still exist")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print an array of objects")
	return cmd
}

// stateDead is the state of a machine whose keeper died: its changes of the host are not undone
// yet.
const stateDead = "dead"

func (o *listOptions) run(ctx context.Context, e *env.Env, store keep.Store) error {
	records, err := store.List()
	if err != nil {
		return err
	}
	var list []keep.Info
	for _, r := range records {
		if life := r.Life(); o.all || life != keep.Ended {
			list = append(list, describe(ctx, store, r, life))
		}
	}
	if o.asJSON {
		views := []output.Machine{} // an empty list must not be null
		for _, m := range list {
			views = append(views, output.MachineOf(m))
		}
		return output.Print(e.Out, views)
	}
	if len(list) == 0 {
		fmt.Fprintln(e.Out, "No machines.")
		return nil
	}
	return printMachines(e.Out, list, time.Now())
}

// describe returns the description of a machine. If the machine is up and answers, the description
// is complete.
func describe(ctx context.Context, store keep.Store, r keep.Record, life keep.Life) keep.Info {
	dead := keep.Info{Record: r, State: keep.State{State: stateDead, Logs: r.LogDir()}}
	switch life {
	case keep.Died:
		if !r.Ended.IsZero() {
			dead.Reason = r.End()
		}
		return dead
	case keep.Ended:
		dead.State.State, dead.Reason = vm.Off, r.End()
		return dead
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := store.Open(r.Name)
	if err != nil {
		return dead
	}
	info, err := c.Info(ctx)
	if err != nil {
		dead.State.State, dead.Reason = "unknown", err.Error()
		return dead
	}
	return info
}

func printMachines(out io.Writer, list []keep.Info, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tAGENT\tMEMORY\tVFS\tSINCE\tACCESS\tLOGS")
	for _, m := range list {
		state, agent := string(m.State.State), "-"
		if m.State.Agent {
			agent = "yes"
		}
		if m.State.State == stateDead {
			state += ": vmtb recover"
		}
		if m.Reason != "" {
			state += ": " + m.Reason
		}
		row := []string{
			m.Name, ansi.Printable(state), agent, fmt.Sprintf("%d MiB", m.Spec.MemoryMiB),
			env.OrDash(strings.Join(output.Addresses(m), ",")), age(m.Started, now),
			env.OrDash(access(m.State)), m.State.Logs,
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// access returns how users reach a machine, apart from its console.
func access(s keep.State) string {
	var ways []string
	if s.VNC != "" {
		ways = append(ways, "vnc "+VNCPlace(s))
	}
	if s.SSHPort != 0 {
		ways = append(ways, fmt.Sprintf("ssh port %d", s.SSHPort))
	}
	return strings.Join(ways, ", ")
}

// VNCPlace returns the address of a machine's screen for a viewer, and whether others can reach it:
// "127.0.0.1::5900 (all addresses)".
func VNCPlace(s keep.State) string {
	if host, _, err := net.SplitHostPort(s.VNCListens); err == nil && !net.ParseIP(host).IsLoopback() {
		return s.VNC + " (all addresses)"
	}
	return s.VNC
}

// age returns how long ago t was, in at most two units.
func age(t, now time.Time) string {
	d := now.Sub(t).Round(time.Second)
	if days := d / (24 * time.Hour); days > 0 {
		return fmt.Sprintf("%d d %d h", days, d%(24*time.Hour)/time.Hour)
	}
	return prose.Duration(d)
}
