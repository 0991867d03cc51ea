package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"vmtb/flow"
)

// submitOptions are the flags of "vmtb-fleet submit".
type submitOptions struct {
	vmtb      string
	id        string
	need      string
	eachGPU   bool
	options   []string // NAME=VALUE
	durations []string
	deadline  time.Duration
	lost      time.Duration
}

// A submission is all units of a run, in the order in which they were queued. It is an object
// beside the run directories.
type submission struct {
	Units []unit    `json:"units"`
	Order []flow.ID `json:"order"` // of all flows, as vmtb lists them
}

func submissionName(run string) string { return run + ".submission" }

// newRunID names a run by the time and random letters.
func newRunID(now time.Time) string {
	random := word(fmt.Sprint(now.UnixNano(), os.Getpid()))
	return now.Format("20060102-150405-") + random[:4]
}

// submit queues what a selection takes. It may be repeated with the same id: what is queued stays
// as it is.
func submit(ctx context.Context, b *bus, o submitOptions, words []string, log io.Writer) (id string, err error) {
	if o.id == "" {
		o.id = newRunID(time.Now())
	}
	if err := checkName("--id", o.id); err != nil {
		return "", err
	}
	run := runInfo{ID: o.id, Who: who(), At: time.Now(), Words: words, State: stateOpen}
	if o.eachGPU {
		run.Each = "gpu"
	}
	if o.deadline > 0 {
		run.Deadline = run.At.Add(o.deadline)
	}
	sub, err := b.submitted(ctx, run.ID)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		if sub, err = b.plan(ctx, o, run, words); err == nil {
			_, err = b.objects.PutBytes(ctx, submissionName(run.ID), encode(sub))
		}
	}
	if err != nil {
		return "", err
	}
	run.Units = len(sub.Units)
	_, err = b.runs.Create(ctx, run.ID, encode(run))
	if errors.Is(err, jetstream.ErrKeyExists) {
		before, _, _, getErr := get[runInfo](ctx, b.runs, run.ID)
		if err = getErr; err == nil && !slices.Equal(before.Words, words) {
			err = usagef("--id=%s: a run of another selection (%s) has this id", run.ID, strings.Join(before.Words, " "))
		}
	}
	if err != nil {
		return "", err
	}
	if err := b.queue(ctx, sub.Units, o.lost, ""); err != nil {
		return "", fmt.Errorf("queue run %s: %w (the same command with --id=%[1]s goes on)", run.ID, err)
	}
	b.wake()
	return run.ID, b.tellUnmet(ctx, sub.Units, log)
}

func who() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// submitted is what was submitted as a run.
func (b *bus) submitted(ctx context.Context, run string) (s submission, err error) {
	data, err := b.objects.GetBytes(ctx, submissionName(run))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

// plan makes the units of a selection.
func (b *bus) plan(ctx context.Context, o submitOptions, run runInfo, words []string) (sub submission, err error) {
	if _, err := parseNeed(o.need); err != nil {
		return sub, err
	}
	given := map[string]string{}
	for _, option := range o.options {
		name, value, ok := strings.Cut(option, "=")
		if !ok || !slices.Contains(options, name) || !optionForm.MatchString(value) {
			return sub, usagef("--option=%s: want NAME=VALUE, with a NAME of: %s", option, strings.Join(options, ", "))
		}
		given[name] = value
	}
	items, err := listed(ctx, o.vmtb, words)
	if err != nil {
		return sub, err
	}
	kinds := []string{""}
	if o.eachGPU {
		if kinds, err = b.kinds(ctx, "gpu"); err != nil {
			return sub, err
		}
	}
	d, err := flow.ReadDurations(o.durations...)
	if err != nil {
		return sub, usageError{err}
	}
	units := d.Units(items)
	if len(o.durations) > 0 {
		flow.LongestFirst(units)
	}
	for _, kind := range kinds {
		for _, of := range units {
			u := unit{Run: run.ID, Name: word(of.ID.String() + " " + kind), Fixture: of.ID.String(), Kind: kind, Options: given, Deadline: run.Deadline}
			needs := append([]string{o.need}, ownNeeds(of)...)
			if kind != "" {
				needs = append(needs, "gpu="+kind)
			}
			u.Need = canonical(needs...)
			for _, it := range of.Items {
				u.IDs = append(u.IDs, it.Name)
			}
			sub.Units = append(sub.Units, u)
		}
	}
	for _, it := range items {
		sub.Order = append(sub.Order, it.ID)
	}
	return sub, nil
}

// listed are the flows that a selection takes, as vmtb on this machine lists them.
func listed(ctx context.Context, vmtb string, words []string) (items []flow.Item, err error) {
	argv := append(strings.Fields(vmtb), "list", "--json")
	cmd := exec.CommandContext(ctx, argv[0], append(append(argv[1:], "--"), words...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, usagef("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(said.String()))
	}
	return items, json.Unmarshal(out, &items)
}

var vfsForm = regexp.MustCompile(`^([0-9]+)VF\b`)

// ownNeeds are what the flows of a unit need, as far as it shows in a label. A wrong guess costs a
// skip with a reason: the DUT checks.
func ownNeeds(u flow.Unit) (needs []string) {
	if m := vfsForm.FindStringSubmatch(u.ID.Param); m != nil {
		needs = append(needs, "vfs>="+m[1])
	}
	return needs
}

// kinds are the values of a label among the DUTs that are there.
func (b *bus) kinds(ctx context.Context, label string) (kinds []string, err error) {
	duts, err := all[dutInfo](ctx, b.duts, ">")
	for _, d := range duts {
		if v := d.Labels[label]; v != "" && !slices.Contains(kinds, v) {
			kinds = append(kinds, v)
		}
	}
	if err == nil && kinds == nil {
		err = usagef("--each-gpu: no DUT has the label %s", label)
	}
	slices.Sort(kinds)
	return kinds, err
}

// queue publishes units. The engine drops those that it has seen under the same name; again makes
// others of them.
func (b *bus) queue(ctx context.Context, units []unit, lost time.Duration, again string) error {
	pools := map[string]string{}
	for _, u := range units {
		pools[u.pool()] = u.Need
	}
	for pool := range pools {
		c := jetstream.ConsumerConfig{
			Durable: pool, FilterSubject: "unit." + pool + ".>", AckPolicy: jetstream.AckExplicitPolicy, AckWait: lost, MaxDeliver: -1,
			MaxAckPending: 10_000,
		}
		if _, err := b.js.CreateOrUpdateConsumer(ctx, unitStream, c); err != nil {
			return fmt.Errorf("pool %q: %w", pools[pool], err)
		}
	}
	if err := b.addPools(ctx, pools); err != nil {
		return err
	}
	for _, u := range units {
		if _, err := b.js.Publish(ctx, u.subject(), encode(u), jetstream.WithMsgID(u.key()+again)); err != nil {
			return fmt.Errorf("%s: %w", u.title(), err)
		}
	}
	return nil
}

// addPools has agents know of pools.
func (b *bus) addPools(ctx context.Context, more map[string]string) error {
	for {
		pools, entry, ok, err := get[map[string]string](ctx, b.pools, allPools)
		if err != nil {
			return err
		}
		if !ok {
			_, err = b.pools.Create(ctx, allPools, encode(more))
		} else {
			n := len(pools)
			for pool, need := range more {
				pools[pool] = need
			}
			if len(pools) == n {
				return nil
			}
			_, err = b.pools.Update(ctx, allPools, encode(pools), entry.Revision())
		}
		if notConflict(err) != nil || err == nil {
			return err
		}
	}
}

// tellUnmet says which requirements no DUT meets, and what the nearest one lacks.
func (b *bus) tellUnmet(ctx context.Context, units []unit, log io.Writer) error {
	duts, err := all[dutInfo](ctx, b.duts, ">")
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, u := range units {
		if told[u.Need] {
			continue
		}
		told[u.Need] = true
		if text := unmet(u.Need, duts); text != "" {
			fmt.Fprintf(log, "vmtb-fleet: no DUT meets %q, which %s needs: %s\n", u.Need, u.title(), text)
		}
	}
	return nil
}

// unmet says what the nearest DUT lacks; "" if one lacks nothing.
func unmet(need string, duts map[string]dutInfo) string {
	best, least := "there is none", 0
	for _, d := range duts {
		missing := lacks(need, d.Labels)
		if len(missing) == 0 {
			return ""
		}
		if least == 0 || len(missing) < least {
			best, least = fmt.Sprintf("%s lacks %s", d.Name, strings.Join(missing, ", ")), len(missing)
		}
	}
	return best
}

// cancel ends a run: units that run are interrupted by their agents, and those that wait have not
// run.
func (b *bus) cancel(ctx context.Context, id string) error {
	r, entry, err := b.run(ctx, id)
	if err != nil {
		return err
	}
	r.State = stateCancelled
	if _, err := b.runs.Update(ctx, id, encode(r), entry.Revision()); err != nil {
		return err
	}
	b.wake()
	sub, err := b.submitted(ctx, id)
	if err != nil {
		return err
	}
	claims, err := all[claim](ctx, b.claims, id+".*")
	if err != nil {
		return err
	}
	for _, u := range sub.Units {
		if c, ok := claims[u.key()]; ok && c.DUT != "" {
			continue // its agent says how it ended
		}
		r := result{Unit: u.Name, Exit: flow.ExitInterrupted, Why: errCancelled.Error(), At: time.Now()}
		if _, err := b.results.Create(ctx, u.key(), encode(r)); notConflict(err) != nil {
			return err
		}
	}
	s, err := b.js.Stream(ctx, unitStream)
	if err != nil {
		return err
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject("unit.*."+id+".>"))
}

// run is what was submitted under an id.
func (b *bus) run(ctx context.Context, id string) (runInfo, jetstream.KeyValueEntry, error) {
	if err := checkName("run", id); err != nil {
		return runInfo{}, nil, err
	}
	r, entry, ok, err := get[runInfo](ctx, b.runs, id)
	if err == nil && !ok {
		err = usagef("there is no run %s", id)
	}
	return r, entry, err
}

// repair queues the units of a run again that have no result: after the queue was lost, or purged.
func (b *bus) repair(ctx context.Context, id string, lost time.Duration) (n int, err error) {
	sub, err := b.submitted(ctx, id)
	if err != nil {
		return 0, err
	}
	results, err := all[result](ctx, b.results, id+".*")
	if err != nil {
		return 0, err
	}
	open := slices.DeleteFunc(sub.Units, func(u unit) bool { _, done := results[u.key()]; return done })
	err = b.queue(ctx, open, lost, fmt.Sprintf(".%d", time.Now().UnixNano()))
	b.wake()
	return len(open), err
}
