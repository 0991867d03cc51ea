package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"

	"vmtb/flow"
)

const serverDir = "/var/lib/vmtb-fleet"

// An exitCode ends the program without a message.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code) //nolint:forbidigo // the program's end
}

// run runs a command line and returns the exit code.
func run(ctx context.Context, args []string, out, log io.Writer) int {
	err := (&program{out: out, log: log}).run(ctx, args)
	if code, ok := errors.AsType[exitCode](err); ok || err == nil {
		return int(code)
	}
	fmt.Fprintln(log, "vmtb-fleet:", err)
	switch {
	case flow.BlameOf(err) == flow.BlameUsage:
		return flow.ExitUsage
	case ctx.Err() != nil:
		return flow.ExitInterrupted
	}
	return flow.ExitError
}

// A program is one call of vmtb-fleet: where it prints, and the values of its flags.
type program struct {
	out, log io.Writer
	key      string
	keyGiven bool

	serve  serveOptions
	agent  agentOptions
	submit submitOptions
	fetch  fetchOptions

	role, file   string
	json, end    bool
	length, lost time.Duration
}

type (
	action    func(ctx context.Context, args []string) error
	busAction func(ctx context.Context, b *bus, args []string) error
)

// A command of vmtb-fleet. use names its arguments; "..." means any number of arguments.
type command struct {
	use, short string
	flags      func(*pflag.FlagSet)
	do         action
}

func (c command) name() string { return strings.Fields(c.use)[0] }

func (p *program) run(ctx context.Context, args []string) error {
	commands := p.commands()
	if len(args) == 0 || args[0] == "help" || strings.HasPrefix(args[0], "-") {
		fmt.Fprint(p.out, "vmtb-fleet runs flows of vmtb on many machines under test.\n",
			"\"vmtb-fleet COMMAND --help\" shows the flags.\n\n")
		for _, c := range commands {
			fmt.Fprintf(p.out, "  %-24s %s\n", c.use, c.short)
		}
		return nil
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name() == args[0] })
	if i < 0 {
		return usagef("there is no command %q: \"vmtb-fleet help\" lists them", args[0])
	}
	c := commands[i]
	f := pflag.NewFlagSet(c.name(), pflag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintf(p.out, "vmtb-fleet %s\n\n%s\n\n%s", c.use, c.short, f.FlagUsagesWrapped(100))
	}
	key := cmp.Or(os.Getenv("VMTB_FLEET_KEY"), serverDir+"/admin.key")
	f.StringVar(&p.key, "key", key, "the key `file` of this machine or person (environment: VMTB_FLEET_KEY)")
	if c.flags != nil {
		c.flags(f)
	}
	err := f.Parse(args[1:])
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err != nil:
		return usagef("%s: %w (vmtb-fleet %[1]s --help)", c.name(), err)
	case f.NArg() != strings.Count(c.use, " ") && !strings.Contains(c.use, "..."):
		return usagef("want: vmtb-fleet %s", c.use)
	}
	p.keyGiven = f.Changed("key")
	return c.do(ctx, f.Args())
}

// onBus returns an action that connects to the engine and calls do.
func (p *program) onBus(do busAction) action {
	return func(ctx context.Context, args []string) error {
		b, err := p.connect(ctx)
		if err != nil {
			return err
		}
		defer b.nc.Close()
		return do(ctx, b, args)
	}
}

// connect connects to the engine. If the engine is just starting, connect waits for it: the first
// start makes the key, too.
func (p *program) connect(ctx context.Context) (b *bus, err error) {
	for end := time.Now().Add(answerTime); ; {
		k, err := readKey(p.key)
		if err == nil {
			b, err = connect(ctx, k)
		}
		starting := errors.Is(err, nats.ErrNoServers) || !p.keyGiven && errors.Is(err, fs.ErrNotExist)
		if !starting || time.Now().After(end) {
			return b, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (p *program) commands() []command {
	return []command{
		{"serve", "run the engine", p.serveFlags, p.runServe},
		{"enroll NAME", "make a key for a DUT or a person", func(f *pflag.FlagSet) {
			f.StringVar(&p.role, "role", roleDUT, "dut, submit or admin")
			f.StringVarP(&p.file, "output", "o", "", "the key file to write (default: NAME.key)")
		}, p.onBus(p.runEnroll)},
		{"agent", "run units on this machine", p.agentFlags, func(ctx context.Context, _ []string) error {
			k, err := readKey(p.key)
			if err != nil {
				return err
			}
			p.agent.spool = cmp.Or(p.agent.spool, "/var/lib/vmtb-agent/"+k.Name)
			return runAgent(ctx, k, p.agent, slog.New(slog.NewTextHandler(p.log, nil)))
		}},
		{"submit [SELECTION...]", "queue flows, and print the run's id", p.submitFlags, p.onBus(
			func(ctx context.Context, b *bus, words []string) error {
				id, err := submit(ctx, b, p.submit, words, p.log)
				if id != "" {
					fmt.Fprintln(p.out, id)
				}
				return err
			})},
		{"watch RUN", "show the progress of a run; the exit code is that of the run", func(f *pflag.FlagSet) {
			f.BoolVar(&p.json, "json", false, "print the journals' entries, one object per line")
		}, p.onBus(func(ctx context.Context, b *bus, args []string) error {
			code, err := watch(ctx, b, args[0], p.out, p.json)
			if err == nil {
				err = exitCode(code)
			}
			return err
		})},
		{"fetch RUN", "fetch all attempts of a run, merged into one run directory", func(f *pflag.FlagSet) {
			f.StringVarP(&p.fetch.dir, "output", "o", "", "the run directory to make")
			f.StringArrayVar(&p.fetch.reports, "report", nil, "FORMAT or FORMAT:PATH, as for vmtb report")
			f.StringVar(&p.fetch.vmtb, "vmtb", "vmtb", "the vmtb that makes the reports")
		}, p.onBus(func(ctx context.Context, b *bus, args []string) error {
			return fetch(ctx, b, args[0], p.fetch, p.out)
		})},
		{"duts", "list the DUTs: state, labels, reason", func(f *pflag.FlagSet) {
			f.BoolVar(&p.json, "json", false, "print an array of objects")
		}, p.onBus(func(ctx context.Context, b *bus, _ []string) error { return b.listDUTs(ctx, p.out, p.json) })},
		{"reserve DUT", "reserve a DUT for a person, or end the reservation", func(f *pflag.FlagSet) {
			f.DurationVar(&p.length, "for", time.Hour, "how long; 0s ends the reservation")
		}, p.standing(func(s *standing) { s.Who, s.Until = who(), time.Now().Add(p.length) })},
		{"drain DUT", "let a DUT finish its unit and take no new one", func(f *pflag.FlagSet) {
			f.BoolVar(&p.end, "end", false, "let the DUT take units again")
		}, p.standing(func(s *standing) { s.Who, s.Drain = who(), !p.end })},
		{"cancel RUN", "end a run in order", nil, p.onBus(func(ctx context.Context, b *bus, args []string) error {
			return b.cancel(ctx, args[0])
		})},
		{"repair RUN|DUT", "queue units without a result again; let a bad DUT work again", func(f *pflag.FlagSet) {
			f.DurationVar(&p.lost, "lost-after", defaultLost, "the same as for submit")
		}, p.onBus(func(ctx context.Context, b *bus, args []string) error {
			if b.knows(ctx, args[0]) == nil {
				return b.setStanding(ctx, args[0], func(s *standing) { s.Clear++ })
			}
			n, err := b.repair(ctx, args[0], p.lost)
			fmt.Fprintf(p.out, "units queued again: %d\n", n)
			return err
		})},
		{"revoke NAME", "delete a key, at once", nil, p.onBus(func(ctx context.Context, b *bus, args []string) error {
			return b.revoke(ctx, args[0])
		})},
	}
}

// standing returns an action that changes whether a DUT may take units.
func (p *program) standing(change func(*standing)) action {
	return p.onBus(func(ctx context.Context, b *bus, args []string) error {
		return b.setStanding(ctx, args[0], change)
	})
}

func (p *program) serveFlags(f *pflag.FlagSet) {
	o := &p.serve
	f.StringVar(&o.dir, "dir", serverDir, "state: keys, queue, results, run directories")
	f.StringVar(&o.listen, "listen", "0.0.0.0:4222", "HOST:PORT to listen on, with TLS")
	f.StringVar(&o.url, "url", "", "the address in the keys of clients (default: tls://HOSTNAME:PORT)")
	f.Int64Var(&o.maxStore, "max-store", 0, "limit of the state in bytes (default: the space on the disk)")
}

func (p *program) runServe(ctx context.Context, _ []string) error {
	o := p.serve
	_, port, err := net.SplitHostPort(o.listen)
	if err != nil {
		return usagef("--listen=%s: %w", o.listen, err)
	}
	if o.url == "" {
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		o.url = "tls://" + net.JoinHostPort(name, port)
	}
	return serve(ctx, o, p.out)
}

func (p *program) runEnroll(ctx context.Context, b *bus, args []string) error {
	if p.file == "" {
		p.file = args[0] + ".key"
	}
	if err := enroll(ctx, b, args[0], p.role, p.file); err != nil {
		return err
	}
	next := "VMTB_FLEET_KEY=" + p.file + " vmtb-fleet submit ..."
	if p.role == roleDUT {
		next = "copy it to the DUT, then: vmtb-fleet agent --key=" + p.file
	}
	fmt.Fprintf(p.out, "%s is the key of %s: %s\n", p.file, args[0], next)
	return nil
}

func (p *program) agentFlags(f *pflag.FlagSet) {
	o := &p.agent
	f.StringVar(&o.vmtb, "vmtb", "vmtb", "the vmtb to run, with arguments before its command")
	f.StringVar(&o.spool, "spool", "", "directory for units in flight (default: /var/lib/vmtb-agent/NAME of the key)")
	const health = "selection that must pass before a bad DUT takes units again (default: \"repair\" decides)"
	f.StringVar(&o.health, "health", "", health)
	f.DurationVar(&o.check, "health-every", 10*time.Minute, "time between two health checks of a bad DUT")
}

func (p *program) submitFlags(f *pflag.FlagSet) {
	o := &p.submit
	f.StringVar(&o.vmtb, "vmtb", "vmtb", "the vmtb that lists the selection")
	f.StringVar(&o.id, "id", "", "id of the run; the id of a partly queued run continues that run")
	f.StringVar(&o.need, "need", "", "labels that a DUT must have: 'gpu=bmg vfs>=4 kernel>=7.0'")
	f.BoolVar(&o.eachGPU, "each-gpu", false, "run each flow once on each kind of GPU that the DUTs have")
	f.StringArrayVar(&o.options, "option", nil, "NAME=VALUE, a flag of vmtb run: "+strings.Join(options, ", "))
	f.StringArrayVar(&o.durations, "durations", nil, "a run directory: its slowest flows are queued first")
	f.DurationVar(&o.deadline, "deadline", 0, "stop units that have not ended after this time (default: never)")
	f.DurationVar(&o.lost, "lost-after", defaultLost, "a DUT that is silent for this time loses its unit")
}
