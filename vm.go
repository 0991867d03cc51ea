package vmtb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/hoststate"
	"vmtb/internal/prose"
)

func (a *app) vmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vm",
		Short: "Virtual machines that outlive the command which starts them",
		Long: `Starts virtual machines, with or without VFs, and does to them by hand what flows do. A machine that "vmtb vm start"
has started lives on, with a process that keeps it, until the guest shuts down or "vmtb vm off", "vmtb vm kill" or
"vmtb recover" ends it. "vmtb help vm" tells more.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.vmStartCommand(), a.vmListCommand(), a.vmKeepCommand(), a.vmWaitCommand(), a.vmLogsCommand(), a.vmRemoveCommand(),
		a.vmExecCommand(), a.vmCopyCommand(), a.vmShellCommand(), a.vmSSHCommand(), a.vmConsoleCommand(),
		a.vmVNCCommand(), a.vmScreenshotCommand(), a.vmQMPCommand(),
		a.vmOffCommand(), a.vmKillCommand(),
		a.vmSaveCommand(), a.vmRestoreCommand(), a.vmSnapshotsCommand(), a.vmMigrateCommand(),
	)
	for _, o := range []struct {
		order keep.Order
		short string
	}{
		{keep.Pause, "Stop a machine's CPUs"},
		{keep.Resume, "Let a paused machine go on"},
		{keep.Suspend, "Have a guest suspend itself to RAM (S3)"},
		{keep.Wake, "Wake a guest that is suspended"},
		{keep.Reboot, "Reboot a guest through its agent, and wait until it is back"},
		{keep.Reset, "Press a machine's reset button, and wait until its guest is back"},
	} {
		cmd.AddCommand(a.vmOrderCommand(o.order, o.short))
	}
	return cmd
}

// onMachine is the body of a command whose first argument names a machine: do gets its client, and the other arguments.
func (a *app) onMachine(do func(ctx context.Context, c *keep.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.State.Machines.Open(args[0])
		if err != nil {
			return err
		}
		ctx, stop := env.CancelOnInterrupt(cmd.Context())
		defer stop()
		return do(ctx, c, args[1:])
	}
}

// completeMachine offers the names of machines for a first argument.
func (a *app) completeMachine(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	living, err := hoststate.Living(a.State.Machines)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, r := range living {
		names = append(names, r.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) vmOrderCommand(o keep.Order, short string) *cobra.Command {
	return &cobra.Command{
		Use: string(o) + " machine", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeMachine,
		RunE: a.onMachine(func(ctx context.Context, c *keep.Client, _ []string) error {
			return a.Step(c.Name(), string(o), func() error { return c.Order(ctx, o) })
		}),
	}
}

func (a *app) vmOffCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "off machine... | --all", Aliases: []string{"stop"}, Short: "Shut machines down, and put the host back",
		Long: `Shuts machines down: asks the guest's agent, then presses the power button, then has QEMU quit, then kills it, each only if
the one before did not help. What the machine has changed on the host is put back; its logs stay until a machine of the same
name is started.`,
		ValidArgsFunction: a.completeMachine,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.endMachines(cmd.Context(), args, all, "shut down", a.vmOff)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all machines")
	return cmd
}

func (a *app) vmOff(ctx context.Context, c *keep.Client, progress func(string)) error {
	off, err := c.PowerOff(ctx, progress)
	if how := off.How; how == "" || how == vm.StepAgent { // "" is also that of an error
		return err
	}
	why := "the guest did not shut down when its agent was asked"
	if len(off.LeftOut) > 0 {
		why = strings.Join(off.LeftOut, "; ")
	}
	fmt.Fprintf(a.Err, "vmtb: %s: ended by %s: %s\n", c.Name(), off.How, ansi.Printable(why))
	return err
}

func (a *app) vmKillCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "kill machine... | --all", Short: "Kill machines' QEMU, and put the host back", ValidArgsFunction: a.completeMachine,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.endMachines(cmd.Context(), args, all, "kill", func(ctx context.Context, c *keep.Client, progress func(string)) error { return c.Kill(ctx, progress) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all machines")
	return cmd
}

// endMachines ends the machines that are named, or all.
func (a *app) endMachines(ctx context.Context, names []string, all bool, what string, end func(context.Context, *keep.Client, func(string)) error) error {
	if all == (len(names) > 0) {
		return &bench.UsageError{Err: errors.New("want the names of machines, or --all"), Advice: "vmtb vm list shows them"}
	}
	if all {
		living, err := hoststate.Living(a.State.Machines)
		if err != nil {
			return err
		}
		for _, r := range living {
			names = append(names, r.Name)
		}
	}
	ctx, stop := env.CancelOnInterrupt(ctx)
	defer stop()
	var errs []error
	for _, name := range names {
		c, err := a.State.Machines.Open(name)
		if err == nil {
			err = a.Progress(name).Step(what, func(log io.Writer) error {
				return end(ctx, c, func(s string) { fmt.Fprintln(log, s) })
			})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (a *app) vmListCommand() *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls", "ps"}, Short: "List machines: state, VFs, how to get in, logs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return a.vmList(ctx, all, asJSON)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that have ended, whose logs are still there")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	return cmd
}

// stateDead is the state of a machine whose keeper died: what it has left on the host is not put back yet.
const stateDead = "dead"

func (a *app) vmList(ctx context.Context, all, asJSON bool) error {
	records, err := a.State.Machines.List()
	if err != nil {
		return err
	}
	var list []keep.Info
	for _, r := range records {
		if life := r.Life(); all || life != keep.Ended {
			list = append(list, a.describe(ctx, r, life))
		}
	}
	if asJSON {
		views := []machineView{} // not null
		for _, m := range list {
			views = append(views, viewOf(m))
		}
		return env.PrintJSON(a.Out, views)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.Out, "No machines.")
		return nil
	}
	return printMachines(a.Out, list, time.Now())
}

// describe is what is known of a machine: all if it lives and answers.
func (a *app) describe(ctx context.Context, r keep.Record, life keep.Life) keep.Info {
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
	c, err := a.State.Machines.Open(r.Name)
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

// A machineView is a machine as programs get it.
type machineView struct {
	Name      string    `json:"name"`
	State     vm.State  `json:"state"`            // "running", "paused", ...; "dead": it has left the host changed
	Reason    string    `json:"reason,omitempty"` // why it has ended
	Agent     bool      `json:"agent"`            // the guest's agent has its port open
	Image     string    `json:"image"`
	MemoryMiB int       `json:"memory_mib"`
	CPUs      int       `json:"cpus"`
	VFs       []string  `json:"vfs"` // PCI addresses on the host
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended,omitzero"`
	Keeper    int       `json:"keeper_pid"`
	QEMU      int       `json:"qemu_pid,omitempty"`
	Accel     string    `json:"accel,omitempty"`
	VNC       string    `json:"vnc,omitempty"`         // as a viewer on this host takes it
	Listens   string    `json:"vnc_listens,omitempty"` // "0.0.0.0:5900" is every address of this host
	Password  string    `json:"vnc_password,omitempty"`
	SSHPort   int       `json:"ssh_port,omitempty"`
	Logs      string    `json:"logs"` // folder
}

func viewOf(m keep.Info) machineView {
	s := m.State
	return machineView{
		Name: m.Name, State: s.State, Reason: m.Reason, Agent: s.Agent, Image: imageOf(m.Spec),
		MemoryMiB: m.Spec.MemoryMiB, CPUs: m.Spec.CPUs, VFs: addresses(m), Started: m.Started, Ended: m.Ended,
		Keeper: m.Keeper, QEMU: s.QEMU, Accel: s.Accel, VNC: s.VNC, Listens: s.VNCListens, Password: s.Password, SSHPort: s.SSHPort, Logs: s.Logs,
	}
}

// imageOf is the image on a machine's first disk; "" for one that has none, as flows may have.
func imageOf(s vm.Spec) string {
	if len(s.Disks) == 0 {
		return ""
	}
	return s.Disks[0].Image
}

// addresses are those of a machine's VFs.
func addresses(m keep.Info) []string {
	list := []string{}
	for _, f := range m.Spec.VFs {
		list = append(list, f.Host)
	}
	return list
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
		fmt.Fprintf(w, "%s\t%s\t%s\t%d MiB\t%s\t%s\t%s\t%s\n", m.Name, ansi.Printable(state), agent, m.Spec.MemoryMiB, env.OrDash(strings.Join(addresses(m), ",")),
			age(m.Started, now), env.OrDash(access(m.State)), m.State.Logs)
	}
	return w.Flush()
}

// access is how people get into a machine beside its console.
func access(s keep.State) string {
	var ways []string
	if s.VNC != "" {
		ways = append(ways, "vnc "+vncPlace(s))
	}
	if s.SSHPort != 0 {
		ways = append(ways, fmt.Sprintf("ssh port %d", s.SSHPort))
	}
	return strings.Join(ways, ", ")
}

// vncPlace is where a viewer finds a machine's screen, and who else can: "127.0.0.1::5900", "127.0.0.1::5900 (all addresses)".
func vncPlace(s keep.State) string {
	if host, _, err := net.SplitHostPort(s.VNCListens); err == nil && !net.ParseIP(host).IsLoopback() {
		return s.VNC + " (all addresses)"
	}
	return s.VNC
}

// age is how long ago t was, in two units at most.
func age(t, now time.Time) string {
	d := now.Sub(t).Round(time.Second)
	if days := d / (24 * time.Hour); days > 0 {
		return fmt.Sprintf("%d d %d h", days, d%(24*time.Hour)/time.Hour)
	}
	return prose.Duration(d)
}
