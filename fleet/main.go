package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"vmtb/flow"
)

// An action is what a command does with its arguments; a busAction needs the engine for it.
type (
	action    func(ctx context.Context, args []string, out, log io.Writer) error
	busAction func(ctx context.Context, b *bus, args []string, out, log io.Writer) error
)

// A command of the program. Its flags are added by flags, and run gets what is left of the command
// line.
type command struct {
	name, args, short string
	most              int // arguments; -1 is any number
	least             int
	prepare           func(f *pflag.FlagSet) action
}

// onBus is a command that needs the engine: it gets the flag --key, and a connection.
func onBus(prepare func(f *pflag.FlagSet) busAction) func(*pflag.FlagSet) action {
	return func(f *pflag.FlagSet) action {
		file := keyFlag(f)
		run := prepare(f)
		return func(ctx context.Context, args []string, out, log io.Writer) error {
			k, err := readKey(*file)
			if err != nil {
				return err
			}
			b, err := connect(ctx, k, false)
			if err != nil {
				return err
			}
			defer b.nc.Close()
			return run(ctx, b, args, out, log)
		}
	}
}

const serverDir = "/var/lib/vmtb-fleet"

func keyFlag(f *pflag.FlagSet) *string {
	file := os.Getenv("VMTB_FLEET_KEY")
	if file == "" {
		file = serverDir + "/admin.key"
	}
	return f.String("key", file, "the key file of this machine or person (default: $VMTB_FLEET_KEY, else that of the server's administrator)")
}

func (o *submitOptions) add(f *pflag.FlagSet) {
	f.StringVar(&o.vmtb, "vmtb", "vmtb", "the vmtb that lists the selection")
	f.StringVar(&o.id, "id", "", "id of the run; with the id of a run that was not queued to its end, goes on with that")
	f.StringVar(&o.need, "need", "", "what a DUT must be, by its labels: 'gpu=bmg vfs>=4 kernel>=7.0'")
	f.BoolVar(&o.eachGPU, "each-gpu", false, "run each flow once on each kind of GPU that the DUTs have")
	f.StringArrayVar(&o.options, "option", nil, "NAME=VALUE, a flag of vmtb run: "+strings.Join(options, ", "))
	f.StringArrayVar(&o.durations, "durations", nil, "a run directory: what took longest in it is queued first")
	f.DurationVar(&o.deadline, "deadline", 0, "what has not run after this time does not run (default: never)")
	f.DurationVar(&o.lost, "lost-after", defaultLost, "a DUT that is silent for so long has lost its unit")
}

var commands = []command{
	{name: "serve", short: "run the engine", prepare: func(f *pflag.FlagSet) action {
		var o serveOptions
		f.StringVar(&o.dir, "dir", serverDir, "state: keys, queue, results, run directories")
		f.StringVar(&o.listen, "listen", "0.0.0.0:4222", "HOST:PORT to listen on, with TLS")
		f.StringVar(&o.url, "url", "", "how others reach it, for their keys (default: tls://HOSTNAME:PORT)")
		f.Int64Var(&o.maxStore, "max-store", 0, "bytes that the state may take (default: what the disk has)")
		return func(ctx context.Context, _ []string, out, _ io.Writer) error {
			if o.url == "" {
				host, err := os.Hostname()
				if err != nil {
					return err
				}
				o.url = "tls://" + host + o.listen[strings.LastIndex(o.listen, ":"):]
			}
			return serve(ctx, o, out)
		}
	}},
	{
		name: "enroll", args: "NAME", least: 1, most: 1, short: "make a key for a DUT, or for who submits",
		prepare: onBus(func(f *pflag.FlagSet) busAction {
			role := f.String("role", roleDUT, "dut, submit or admin")
			file := f.StringP("output", "o", "", "the key file to write (default: NAME.key)")
			return func(_ context.Context, b *bus, args []string, out, _ io.Writer) error {
				if *file == "" {
					*file = args[0] + ".key"
				}
				if err := enroll(b, args[0], *role, *file); err != nil {
					return err
				}
				next := "VMTB_FLEET_KEY=" + *file + " vmtb-fleet submit ..."
				if *role == roleDUT {
					next = "copy it there, then: vmtb-fleet agent --key=" + *file
				}
				fmt.Fprintf(out, "%s is the key of %s: %s\n", *file, args[0], next)
				return nil
			}
		}),
	},
	{name: "agent", short: "run units on this machine", prepare: func(f *pflag.FlagSet) action {
		file := keyFlag(f)
		var o agentOptions
		vmtb := f.String("vmtb", "vmtb", "the vmtb to run, with arguments that come before its command")
		f.StringVar(&o.spool, "spool", "/var/lib/vmtb-agent", "directory for units in flight")
		f.StringVar(&o.health, "health", "", "selection that must pass before a broken DUT takes units again (default: a person decides, by \"repair\")")
		f.DurationVar(&o.check, "health-every", 10*time.Minute, "time between two health checks of a broken DUT")
		return func(ctx context.Context, _ []string, _, log io.Writer) error {
			k, err := readKey(*file)
			if err != nil {
				return err
			}
			o.vmtb = strings.Fields(*vmtb)
			return runAgent(ctx, k, o, slog.New(slog.NewTextHandler(log, nil)))
		}
	}},
	{
		name: "submit", args: "[SELECTION...]", most: -1, short: "queue flows, and print the run's id",
		prepare: onBus(func(f *pflag.FlagSet) busAction {
			var o submitOptions
			o.add(f)
			return func(ctx context.Context, b *bus, args []string, out, log io.Writer) error {
				id, err := submit(ctx, b, o, args, log)
				if id != "" {
					fmt.Fprintln(out, id)
				}
				return err
			}
		}),
	},
	{
		name: "watch", args: "RUN", least: 1, most: 1, short: "show a run as it goes on; ends with its exit code",
		prepare: onBus(func(f *pflag.FlagSet) busAction {
			asJSON := f.Bool("json", false, "print the journals' entries, an object a line")
			return func(ctx context.Context, b *bus, args []string, out, _ io.Writer) error {
				code, err := watch(ctx, b, args[0], out, *asJSON)
				if err == nil && code != 0 {
					err = exitCode(code)
				}
				return err
			}
		}),
	},
	{
		name: "fetch", args: "RUN -o DIR", least: 1, most: 1, short: "bring all attempts of a run, merged into one run directory",
		prepare: onBus(func(f *pflag.FlagSet) busAction {
			dir := f.StringP("output", "o", "", "the run directory to make")
			reports := f.StringArray("report", nil, "FORMAT or FORMAT:PATH, as for vmtb report")
			vmtb := f.String("vmtb", "vmtb", "the vmtb that makes the reports")
			return func(ctx context.Context, b *bus, args []string, out, _ io.Writer) error {
				if *dir == "" {
					return usagef("vmtb-fleet fetch needs -o DIR")
				}
				return fetch(ctx, b, args[0], *dir, *vmtb, *reports, out)
			}
		}),
	},
	{
		name: "duts", short: "list the DUTs: labels, what they do, and why they do not",
		prepare: onBus(func(f *pflag.FlagSet) busAction {
			asJSON := f.Bool("json", false, "print an array of objects")
			return func(ctx context.Context, b *bus, _ []string, out, _ io.Writer) error {
				return listDUTs(ctx, b, out, *asJSON)
			}
		}),
	},
	{
		name: "reserve", args: "DUT", least: 1, most: 1, short: "keep a DUT for a person, or end that",
		prepare: onBus(func(f *pflag.FlagSet) busAction {
			length := f.Duration("for", time.Hour, "how long; 0 ends the reservation")
			return func(ctx context.Context, b *bus, args []string, _, _ io.Writer) error {
				return b.setStanding(ctx, args[0], func(s *standing) { s.Who, s.Until = who(), time.Now().Add(*length) })
			}
		}),
	},
	{
		name: "drain", args: "DUT", least: 1, most: 1, short: "have a DUT finish what it has, and take nothing new",
		prepare: onBus(func(f *pflag.FlagSet) busAction {
			end := f.Bool("end", false, "have it take units again")
			return func(ctx context.Context, b *bus, args []string, _, _ io.Writer) error {
				return b.setStanding(ctx, args[0], func(s *standing) { s.Who, s.Drain = who(), !*end })
			}
		}),
	},
	{
		name: "cancel", args: "RUN", least: 1, most: 1, short: "end a run in order",
		prepare: onBus(func(*pflag.FlagSet) busAction {
			return func(ctx context.Context, b *bus, args []string, _, _ io.Writer) error { return b.cancel(ctx, args[0]) }
		}),
	},
	{
		name: "repair", args: "RUN|DUT", least: 1, most: 1, short: "queue again what has no result; call a broken DUT good again",
		prepare: onBus(func(f *pflag.FlagSet) busAction {
			lost := f.Duration("lost-after", defaultLost, "as for submit")
			return func(ctx context.Context, b *bus, args []string, out, _ io.Writer) error {
				if _, _, ok, err := get[dutInfo](ctx, b.duts, args[0]); err == nil && ok {
					return b.setStanding(ctx, args[0], func(s *standing) { s.Clear++ })
				}
				if _, _, err := b.run(ctx, args[0]); err != nil {
					return err
				}
				n, err := b.repair(ctx, args[0], *lost)
				fmt.Fprintf(out, "units queued again: %d\n", n)
				return err
			}
		}),
	},
	{
		name: "revoke", args: "NAME", least: 1, most: 1, short: "take a key's rights away, at once",
		prepare: onBus(func(*pflag.FlagSet) busAction {
			return func(_ context.Context, b *bus, args []string, _, _ io.Writer) error {
				_, err := b.request(adminRequest{Revoke: args[0]})
				return err
			}
		}),
	},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code) //nolint:forbidigo // the program's end
}

// run runs a command line and returns the exit code.
func run(ctx context.Context, args []string, out, log io.Writer) int {
	if len(args) == 0 || args[0] == "help" || strings.HasPrefix(args[0], "-") {
		help(out)
		return 0
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == args[0] })
	err := usagef("there is no command %q: \"vmtb-fleet help\" lists them", args[0])
	if i >= 0 {
		err = commands[i].run(ctx, args[1:], out, log)
	}
	code, said := errors.AsType[exitCode](err)
	switch {
	case err == nil || errors.Is(err, pflag.ErrHelp):
		return 0
	case said:
		return int(code)
	}
	fmt.Fprintln(log, "vmtb-fleet:", err)
	if _, usage := errors.AsType[usageError](err); usage {
		return flow.ExitUsage
	}
	if ctx.Err() != nil {
		return flow.ExitInterrupted
	}
	return flow.ExitError
}

func (c command) run(ctx context.Context, args []string, out, log io.Writer) error {
	f := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() {
		fmt.Fprintf(out, "vmtb-fleet %s\n\n%s\n\n%s", strings.TrimSpace(c.name+" "+c.args), c.short, f.FlagUsagesWrapped(100))
	}
	do := c.prepare(f)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return usagef("%s: %v (vmtb-fleet %[1]s --help)", c.name, err)
	}
	if n := f.NArg(); n < c.least || c.most >= 0 && n > c.most {
		return usagef("vmtb-fleet %s", strings.TrimSpace(c.name+" "+c.args))
	}
	return do(ctx, f.Args(), out, log)
}

func help(out io.Writer) {
	fmt.Fprint(out, "vmtb-fleet runs flows of vmtb on many machines under test. \"vmtb-fleet COMMAND --help\" shows the flags.\n\n")
	for _, c := range commands {
		fmt.Fprintf(out, "  %-24s %s\n", strings.TrimSpace(c.name+" "+c.args), c.short)
	}
}
