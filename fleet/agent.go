package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// agentOptions are the flags of "vmtb-fleet agent".
type agentOptions struct {
	vmtb   []string      // the program, with arguments that come before its command
	spool  string        // directory for what must not be forgotten
	health string        // selection that must pass before a bad DUT takes units again; "" leaves that to people
	check  time.Duration // between two health checks of a bad DUT
}

// defaultLost is after how long a DUT that is silent has lost its unit: a boot of a large server,
// with time to spare. What the consumers of the engine have counts.
const defaultLost = 15 * time.Minute

// leaseBeats is how many signs of life there are in that time.
const leaseBeats = 60

// An agent takes units for its DUT.
type agent struct {
	*bus
	agentOptions
	dut  string
	boot string // id of the DUT's boot
	log  *slog.Logger
	poke chan struct{} // something has changed: look

	mu    sync.Mutex
	up    time.Time    // since when the connection stands; zero while it does not
	skew  atomic.Int64 // the server's clock less ours
	info  dutInfo
	state agentState
}

// An agentState is what an agent remembers of its DUT's health. It is a file in the spool.
type agentState struct {
	Bad     string    `json:"bad,omitempty"` // why the DUT is broken; "" if it is not
	Errors  int       `json:"errors"`        // units that ended with 3, one after the other
	Clear   int       `json:"clear"`         // the newest standing.Clear that was seen
	Checked time.Time `json:"checked,omitzero"`

	Lost time.Duration `json:"lost_ns,omitempty"` // as the consumers have it
}

// runAgent works for the DUT that the key is for, until ctx ends.
func runAgent(ctx context.Context, k key, o agentOptions, log *slog.Logger) error {
	if k.Role != roleDUT {
		return usagef("%s is a key for %s, and an agent wants one of a DUT", k.Name, k.Role)
	}
	if err := os.MkdirAll(filepath.Join(o.spool, "units"), 0o755); err != nil {
		return err
	}
	unlock, err := lockFile(filepath.Join(o.spool, "agent.lock"))
	if err != nil {
		return fmt.Errorf("another agent works in %s: %w", o.spool, err)
	}
	defer unlock()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	a := &agent{agentOptions: o, dut: k.Name, boot: strings.TrimSpace(string(boot)), log: log, poke: make(chan struct{}, 1)}
	if data, err := os.ReadFile(a.stateFile()); err == nil {
		if err := json.Unmarshal(data, &a.state); err != nil {
			return fmt.Errorf("%s: %w", a.stateFile(), err)
		}
	}
	a.bus, err = connect(ctx, k, true, nats.ReconnectHandler(func(*nats.Conn) { a.connected() }),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { a.setUp(time.Time{}) }))
	if err != nil {
		return err
	}
	defer a.nc.Close()
	a.connected()
	if _, err := a.nc.Subscribe(wakeTopic, func(*nats.Msg) { a.look() }); err != nil {
		return err
	}
	log.Info("works for", "dut", a.dut, "engine", k.URL)
	a.work(ctx)
	return nil
}

// work does round after round until ctx ends.
func (a *agent) work(ctx context.Context) {
	for ctx.Err() == nil {
		again, err := a.round(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("cannot go on, and tries again", "error", err)
		}
		if again && err == nil {
			continue
		}
		select { // a message that comes back because its lease has lapsed is no event: look now and then
		case <-ctx.Done():
		case <-a.poke:
		case <-time.After(a.beat()):
		}
	}
}

func (a *agent) lost() time.Duration { return cmp.Or(a.state.Lost, defaultLost) }
func (a *agent) beat() time.Duration { return a.lost() / leaseBeats }

// now is the engine's time.
func (a *agent) now() time.Time { return time.Now().Add(time.Duration(a.skew.Load())) }

func (a *agent) stateFile() string { return filepath.Join(a.spool, "state.json") }

func (a *agent) saveState() {
	if err := writeFile(a.stateFile(), encode(a.state), 0o644); err != nil {
		a.log.Error("cannot keep the health of the DUT in mind", "error", err)
	}
}

func (a *agent) look() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

func (a *agent) connected() { a.setUp(time.Now()); a.look() }

func (a *agent) setUp(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.up = t
}

// round does what is to be done now. again says that there may be more.
func (a *agent) round(ctx context.Context) (again bool, err error) {
	if done, err := a.spooled(ctx); done || err != nil {
		return true, err
	}
	if state, why, err := a.hindered(ctx); err != nil || state != "" {
		if err == nil {
			err = a.hello(ctx, state, why, "")
		}
		return false, err
	}
	labels, err := a.labels(ctx)
	if err != nil {
		return false, a.hello(ctx, "bad", err.Error(), "")
	}
	a.info.Labels = labels
	if err := a.hello(ctx, "idle", "", ""); err != nil {
		return false, err
	}
	pools, _, _, err := get[map[string]string](ctx, a.pools, allPools)
	if err != nil {
		return false, err
	}
	for _, pool := range meets(pools, labels) {
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

// meets are the pools whose requirement labels meet. Those that ask for most come first: others may
// be left to other DUTs.
func meets(pools, labels map[string]string) (met []string) {
	for pool, need := range pools {
		if len(lacks(need, labels)) == 0 {
			met = append(met, pool)
		}
	}
	slices.SortFunc(met, func(p, q string) int {
		if n := len(strings.Fields(pools[q])) - len(strings.Fields(pools[p])); n != 0 {
			return n
		}
		return strings.Compare(p, q)
	})
	return met
}

// fetch takes one message of a pool, nil if there is none now. Never more: what waits here would
// lapse.
func (a *agent) fetch(ctx context.Context, pool string) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	c, err := a.js.Consumer(ctx, unitStream, pool)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if wait := c.CachedInfo().Config.AckWait; wait != a.state.Lost {
		a.state.Lost = wait
		a.saveState()
	}
	batch, err := c.FetchNoWait(1)
	if err != nil {
		return nil, err
	}
	var got jetstream.Msg
	for m := range batch.Messages() {
		got = m
	}
	return got, batch.Error()
}

// hindered is why the DUT takes nothing: a state and its reason, "" for nothing in the way.
func (a *agent) hindered(ctx context.Context) (state, why string, err error) {
	s, _, _, err := get[standing](ctx, a.standings, a.dut)
	if err != nil {
		return "", "", err
	}
	if s.Clear > a.state.Clear {
		a.state = agentState{Clear: s.Clear, Lost: a.state.Lost}
		a.saveState()
	}
	switch now := a.now(); {
	case s.Drain:
		return "draining", "by " + s.Who, nil
	case s.Until.After(now):
		time.AfterFunc(s.Until.Sub(now), a.look)
		return "reserved", fmt.Sprintf("by %s until %s", s.Who, s.Until.Local().Format("2006-01-02 15:04")), nil
	}
	if a.state.Bad == "" {
		return "", "", nil
	}
	if a.health == "" {
		return "bad", a.state.Bad + ` ("vmtb-fleet repair ` + a.dut + `" when it is good again)`, nil
	}
	if wait := a.check - time.Since(a.state.Checked); wait > 0 {
		time.AfterFunc(wait, a.look)
		return "bad", a.state.Bad, nil
	}
	if err := a.hello(ctx, "bad", a.state.Bad+"; checking its health", ""); err != nil {
		return "", "", err
	}
	if err := a.healthy(ctx); err != nil {
		a.state.Checked = time.Now()
		a.saveState()
		a.log.Warn("the health check failed", "error", err)
		return "bad", fmt.Sprintf("%s; health check: %v", a.state.Bad, err), nil
	}
	a.log.Info("the DUT is good again")
	a.state = agentState{Clear: a.state.Clear, Lost: a.state.Lost}
	a.saveState()
	return "", "", nil
}

// healthy runs the health selection.
func (a *agent) healthy(ctx context.Context) error {
	dir, err := os.MkdirTemp(a.spool, "health-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	code, err := a.vmtbRun(ctx, nil, "run", "--json", "--recover", "--run-dir="+filepath.Join(dir, "run"), "--", a.health)
	if err == nil && code != 0 {
		err = fmt.Errorf("vmtb run %s ended with %d", a.health, code)
	}
	return err
}

// bad takes the DUT out.
func (a *agent) bad(format string, args ...any) {
	a.state.Bad, a.state.Checked = fmt.Sprintf(format, args...), time.Time{}
	a.saveState()
	a.log.Error("the DUT is broken, and takes no more units", "why", a.state.Bad)
}

// hello says how the DUT is, and learns the server's time from it.
func (a *agent) hello(ctx context.Context, state, why, unit string) error {
	i := &a.info
	i.Name, i.State, i.Why, i.Unit, i.BootID = a.dut, state, why, unit, a.boot
	i.Seen, i.Skew = a.now(), -time.Duration(a.skew.Load())
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	before := time.Now()
	if _, err := a.duts.Put(ctx, a.dut, encode(i)); err != nil {
		return err
	}
	e, err := a.duts.Get(ctx, a.dut)
	if err != nil {
		return err
	}
	a.skew.Store(int64(e.Created().Sub(before)))
	return nil
}

// labels asks vmtb what the DUT can do now.
func (a *agent) labels(ctx context.Context) (map[string]string, error) {
	out, err := a.ask(ctx, "labels", "--format=json")
	labels := map[string]string{}
	if err == nil {
		err = json.Unmarshal(out, &labels)
	}
	return labels, err
}

// ask runs a command of vmtb that changes nothing.
func (a *agent) ask(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	argv := append(slices.Clone(a.vmtb), args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("vmtb %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
	}
	return out, nil
}

// serverAge is how long ago the engine stored an entry, by its own clock.
func (a *agent) serverAge(e jetstream.KeyValueEntry) time.Duration {
	return a.now().Sub(e.Created())
}

// steady reports whether the connection has stood long enough for others to have shown that they
// live: after the engine was away, their claims look old.
func (a *agent) steady() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.up.IsZero() && time.Since(a.up) >= min(a.lost()/4, time.Minute)
}
