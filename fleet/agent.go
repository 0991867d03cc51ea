package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vmtb/flow"
	"vmtb/internal/atomicfile"
	"vmtb/internal/flock"
	"vmtb/internal/procfs"
)

// agentOptions are the flags of "vmtb-fleet agent".
type agentOptions struct {
	vmtb   string        // the program, with arguments before its command
	spool  string        // directory for state that must survive the agent
	health string        // selection that must pass before a bad DUT takes units again; "": a person must repair it
	check  time.Duration // between two health checks of a bad DUT
}

// defaultLost is the time after which a silent DUT loses its unit. It is long enough for a large
// server to boot. When the agent knows the AckWait of the queue's consumers, it uses AckWait
// instead.
const defaultLost = 15 * time.Minute

// leaseBeats is the number of heartbeats in the time after which a silent DUT loses its unit.
const leaseBeats = 60

// An agent takes units for its DUT.
type agent struct {
	*bus
	agentOptions
	dut  string
	boot string // id of the DUT's boot
	log  *slog.Logger
	poke chan struct{} // wakes the agent: there may be new work, or a change

	up    atomic.Int64 // when the connection was made, in nanoseconds
	skew  atomic.Int64 // the server's clock less the DUT's
	info  dutInfo      // the last report
	state agentState
}

// An agentState is the state that an agent needs after a crash. It is a file in the spool.
type agentState struct {
	Bad     string        `json:"bad,omitempty"` // why the DUT is bad; "" if it is not
	Errors  int           `json:"errors"`        // units that ended with 3, one after the other
	Clear   int           `json:"clear"`         // the newest standing.Clear that the agent has seen
	Checked time.Time     `json:"checked,omitzero"`
	Lost    time.Duration `json:"lost_ns,omitempty"` // as the consumers have it
	Unit    *attempt      `json:"unit,omitempty"`    // in flight
}

// runAgent works for the DUT of the key until ctx ends. Then it returns at once and leaves its unit
// unfinished, like a crash.
func runAgent(ctx context.Context, k key, o agentOptions, log *slog.Logger) error {
	if k.Role != roleDUT {
		return usagef("the key of %s has the role %s: an agent needs the key of a DUT", k.Name, k.Role)
	}
	if err := os.MkdirAll(o.spool, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(o.spool, "agent.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := flock.Exclusive(lock); err != nil {
		return fmt.Errorf("another agent uses %s: %w", o.spool, err)
	}
	a := &agent{agentOptions: o, dut: k.Name, log: log, poke: make(chan struct{}, 1)}
	if a.boot, err = procfs.BootID(); err != nil {
		return err
	}
	if data, err := os.ReadFile(a.stateFile()); !errors.Is(err, fs.ErrNotExist) {
		if err = errors.Join(err, json.Unmarshal(data, &a.state)); err != nil {
			return fmt.Errorf("%s: %w", a.stateFile(), err)
		}
	}
	connected := func(*nats.Conn) { a.up.Store(time.Now().UnixNano()); a.look() }
	a.bus, err = dial(k, nats.RetryOnFailedConnect(true),
		nats.ConnectHandler(connected), nats.ReconnectHandler(connected))
	if err != nil {
		return err
	}
	defer a.nc.Close()
	if _, err := a.nc.Subscribe(wakeTopic, func(*nats.Msg) { a.look() }); err != nil {
		return err
	}
	log.Info("agent started", "dut", a.dut, "engine", k.URL)
	go a.work(context.WithoutCancel(ctx))
	<-ctx.Done()
	return nil
}

// work calls round for ever.
func (a *agent) work(ctx context.Context) {
	for {
		again, err := a.round(ctx)
		if err != nil {
			a.log.Warn("the agent failed, and tries again", "error", err)
		}
		if again && err == nil {
			continue
		}
		select { // the engine sends no event when a lease lapses
		case <-a.poke:
		case <-time.After(a.beat()):
		}
	}
}

func (a *agent) lost() time.Duration { return cmp.Or(a.state.Lost, defaultLost) }
func (a *agent) beat() time.Duration { return a.lost() / leaseBeats }
func (a *agent) now() time.Time      { return time.Now().Add(time.Duration(a.skew.Load())) } // the engine's clock

func (a *agent) stateFile() string { return filepath.Join(a.spool, "state.json") }
func (a *agent) save() error       { return atomicfile.WriteFile(a.stateFile(), encode(a.state), 0o644) }

func (a *agent) look() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

// round does one step of work: it resumes or takes a unit, or reports why the DUT takes none. again
// reports whether there may be more work.
func (a *agent) round(ctx context.Context) (again bool, err error) {
	if a.kv == nil {
		if err := a.open(ctx); err != nil {
			return false, err
		}
	}
	if a.state.Unit != nil {
		return true, a.resume(ctx)
	}
	state, why, err := a.hindered(ctx)
	if err != nil {
		return false, err
	}
	if state == "" {
		if a.info.Labels, err = a.labels(ctx); err != nil {
			state, why = "bad", err.Error()
		}
	}
	if err := a.report(ctx, cmp.Or(state, "idle"), why, ""); err != nil || state != "" {
		return false, err
	}
	pools, err := a.pools(ctx)
	if err != nil {
		return false, err
	}
	for _, pool := range pools {
		m, err := a.fetch(ctx, pool)
		if err != nil {
			return false, err
		}
		if m != nil {
			return true, a.take(ctx, m)
		}
	}
	return false, nil
}

// pools returns the consumers whose requirement the DUT meets. Requirements with the most terms
// come first, because fewer DUTs meet them.
func (a *agent) pools(ctx context.Context) ([]*jetstream.ConsumerInfo, error) {
	s, err := a.js.Stream(ctx, unitStream)
	if err != nil {
		return nil, err
	}
	var pools []*jetstream.ConsumerInfo
	list := s.ListConsumers(ctx)
	for c := range list.Info() {
		if len(lacks(c.Config.Description, a.info.Labels)) == 0 {
			pools = append(pools, c)
		}
	}
	terms := func(c *jetstream.ConsumerInfo) int { return len(strings.Fields(c.Config.Description)) }
	slices.SortFunc(pools, func(p, q *jetstream.ConsumerInfo) int {
		return cmp.Or(terms(q)-terms(p), strings.Compare(p.Name, q.Name))
	})
	return pools, list.Err()
}

// fetch returns one message of a pool, nil if there is none now. It never takes more than one,
// because the delivery of a message that waits here would lapse.
func (a *agent) fetch(ctx context.Context, pool *jetstream.ConsumerInfo) (jetstream.Msg, error) {
	a.state.Lost = pool.Config.AckWait
	c, err := a.js.Consumer(ctx, unitStream, pool.Name)
	if err != nil {
		return nil, err
	}
	batch, err := c.FetchNoWait(1)
	if err != nil {
		return nil, err
	}
	m := <-batch.Messages()
	return m, batch.Error()
}

// hindered returns the state in which the DUT takes no unit, and its reason. state is "" if the DUT
// can take a unit.
func (a *agent) hindered(ctx context.Context) (state, why string, err error) {
	s, _, err := get[standing](ctx, a.bus, "standing."+a.dut)
	if err != nil {
		return "", "", err
	}
	if s.Clear > a.state.Clear {
		a.state.Clear, a.state.Bad, a.state.Errors = s.Clear, "", 0
		if err := a.save(); err != nil {
			return "", "", err
		}
	}
	switch {
	case s.Drain:
		return "draining", "by " + s.Who, nil
	case s.Until.After(a.now()):
		return "reserved", fmt.Sprintf("by %s until %s", s.Who, s.Until.Local().Format("2006-01-02 15:04")), nil
	case a.state.Bad == "":
		return "", "", nil
	case a.health == "":
		return "bad", a.state.Bad + ` ("vmtb-fleet repair ` + a.dut + `" when its fault is fixed)`, nil
	case time.Since(a.state.Checked) < a.check:
		return "bad", a.state.Bad, nil
	}
	if err := a.report(ctx, "bad", a.state.Bad+"; checking its health", ""); err != nil {
		return "", "", err
	}
	a.state.Checked = time.Now()
	if err := a.healthy(ctx); err != nil {
		a.log.Warn("the health check failed", "error", err)
		return "bad", fmt.Sprintf("%s; health check: %v", a.state.Bad, err), a.save()
	}
	a.log.Info("the DUT has passed its health check")
	a.state.Bad, a.state.Errors = "", 0
	return "", "", a.save()
}

// healthy runs the health selection.
func (a *agent) healthy(ctx context.Context) error {
	dir := filepath.Join(a.spool, "health")
	defer os.RemoveAll(dir)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	_, err := runVmtb(ctx, a.vmtb, "run", "--recover", "--run-dir="+dir, "--", a.health)
	return err
}

// bad marks the DUT as bad, so that it takes no more units. The caller saves the state.
func (a *agent) bad(format string, args ...any) {
	a.state.Bad, a.state.Checked = fmt.Sprintf(format, args...), time.Time{}
	a.log.Error("the DUT is bad, and takes no more units", "why", a.state.Bad)
}

// report stores the DUT's state in the engine, and computes the skew of the clocks from the time of
// the stored value.
func (a *agent) report(ctx context.Context, state, why, unit string) error {
	i := &a.info
	i.Name, i.State, i.Why, i.Unit, i.BootID, i.Seen = a.dut, state, why, unit, a.boot, a.now()
	before := time.Now()
	if _, err := a.kv.Put(ctx, "dut."+a.dut, encode(i)); err != nil {
		return err
	}
	e, err := a.kv.Get(ctx, "dut."+a.dut)
	if err == nil {
		a.skew.Store(int64(e.Created().Sub(before)))
	}
	return err
}

// labels asks vmtb what the DUT can do now.
func (a *agent) labels(ctx context.Context) (labels map[string]string, err error) {
	out, err := ask(ctx, a.vmtb, "labels", "--format=json")
	if err == nil {
		err = json.Unmarshal(out, &labels)
	}
	return labels, err
}

// runVmtb runs vmtb and returns its standard output. program may have arguments. The end of ctx
// interrupts vmtb, which then restores its host and ends. An error has the end of vmtb's stderr.
func runVmtb(ctx context.Context, program string, args ...string) ([]byte, error) {
	argv := append(strings.Fields(program), args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal for the agent's group must not reach vmtb
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Minute
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		text := strings.TrimSpace(strings.ToValidUTF8(string(exit.Stderr), "?"))
		err = fmt.Errorf("vmtb %s: %w: %s", args[0], err, text)
	}
	return out, err
}

// ask runs a command of vmtb that changes nothing, for at most a minute.
func ask(ctx context.Context, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return runVmtb(ctx, program, args...)
}

// exitOf returns the exit code in an error of runVmtb: -1 if vmtb was killed.
func exitOf(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return flow.ExitError
}
