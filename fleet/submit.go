package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
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

// submit queues the flows of a selection. It may be repeated with the same id: queued units are not
// queued again.
func submit(ctx context.Context, b *bus, o submitOptions, words []string, log io.Writer) (id string, err error) {
	now := time.Now()
	if o.id == "" {
		o.id = now.Format("20060102-150405-") + word(fmt.Sprint(now.UnixNano(), os.Getpid()))[:4]
	}
	if err := checkName("--id", o.id); err != nil {
		return "", err
	}
	run := runInfo{Words: words}
	if o.deadline > 0 {
		run.Deadline = now.Add(o.deadline)
	}
	sub, err := b.submitted(ctx, o.id)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		if sub, err = b.plan(ctx, o, run); err == nil {
			_, err = b.objects.PutBytes(ctx, submissionName(o.id), encode(sub))
		}
	}
	if err != nil {
		return "", err
	}
	before, e, err := get[runInfo](ctx, b, "run."+o.id)
	switch {
	case err == nil && e == nil:
		_, err = b.kv.Create(ctx, "run."+o.id, encode(run))
	case err == nil && !slices.Equal(before.Words, words):
		err = usagef("--id=%s: a run of another selection (%s) has this id", o.id, strings.Join(before.Words, " "))
	}
	if err != nil {
		return "", err
	}
	if err := b.queue(ctx, sub.Units, o.lost, ""); err != nil {
		return "", fmt.Errorf("queue run %s: %w (the same command with --id=%[1]s continues)", o.id, err)
	}
	return o.id, b.reportUnmet(ctx, sub.Units, log)
}

func who() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// submitted returns the submission of a run.
func (b *bus) submitted(ctx context.Context, run string) (s submission, err error) {
	data, err := b.objects.GetBytes(ctx, submissionName(run))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

// run returns the run with an id: its runInfo, the entry of that value, and its submission.
func (b *bus) run(ctx context.Context, id string) (r runInfo, e jetstream.KeyValueEntry, s submission, err error) {
	if err = checkName("run", id); err == nil {
		r, e, err = get[runInfo](ctx, b, "run."+id)
	}
	if err == nil && e == nil {
		err = usagef("there is no run %s", id)
	}
	if err == nil {
		s, err = b.submitted(ctx, id)
	}
	return r, e, s, err
}

// plan makes the units of a selection.
func (b *bus) plan(ctx context.Context, o submitOptions, run runInfo) (sub submission, err error) {
	if _, err := parseNeed(o.need); err != nil {
		return sub, err
	}
	given := map[string]string{}
	for _, option := range o.options {
		name, value, _ := strings.Cut(option, "=")
		if !goodOption(name, value) {
			return sub, usagef("--option=%s: want NAME=VALUE, with a NAME of: %s", option, strings.Join(options, ", "))
		}
		given[name] = value
	}
	items, err := list(ctx, o.vmtb, run.Words...)
	if err != nil {
		return sub, usagef("%w", err)
	}
	kinds := []string{""}
	if o.eachGPU {
		if kinds, err = b.gpus(ctx); err != nil {
			return sub, err
		}
	}
	d, err := flow.ReadDurations(o.durations...)
	if err != nil {
		return sub, err
	}
	units := d.Units(items)
	if len(o.durations) > 0 {
		flow.LongestFirst(units)
	}
	for _, kind := range kinds {
		for _, of := range units {
			u := unit{
				Run: o.id, Name: word(of.ID.String() + " " + kind), Fixture: of.ID.String(), Kind: kind,
				Options: given, Deadline: run.Deadline, Need: canonical(o.need, ownNeed(of)),
			}
			if kind != "" {
				u.Need = canonical(u.Need, "gpu="+kind)
			}
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

// list returns the flows of a selection, in the order of "vmtb list" on this machine.
func list(ctx context.Context, vmtb string, words ...string) (items []flow.Item, err error) {
	out, err := ask(ctx, vmtb, append([]string{"list", "--json", "--"}, words...)...)
	if err == nil {
		err = json.Unmarshal(out, &items)
	}
	return items, err
}

var vfsForm = regexp.MustCompile(`^([0-9]+)VF\b`)

// ownNeed returns the requirement of a unit's flows that labels can show: the number of VFs, from
// the parameter's name. If the guess is wrong the DUT skips the flows with a reason.
func ownNeed(u flow.Unit) string {
	if m := vfsForm.FindStringSubmatch(u.ID.Param); m != nil {
		return "vfs>=" + m[1]
	}
	return ""
}

// gpus returns the kinds of GPUs that DUTs have.
func (b *bus) gpus(ctx context.Context) ([]string, error) {
	duts, err := all[dutInfo](ctx, b, "dut", "*")
	kinds := map[string]bool{}
	for _, d := range duts {
		kinds[d.Labels["gpu"]] = true
	}
	delete(kinds, "")
	if err == nil && len(kinds) == 0 {
		err = usagef("--each-gpu: no DUT has the label gpu")
	}
	return slices.Sorted(maps.Keys(kinds)), err
}

// queue publishes units, and makes their pools. The engine drops a unit that it has already seen
// with the same message id. again is a suffix of the ids, so that the engine accepts the units
// again.
func (b *bus) queue(ctx context.Context, units []unit, lost time.Duration, again string) error {
	known := map[string]bool{}
	for _, u := range units {
		subject := "unit." + u.pool() + "."
		if !known[u.Need] {
			known[u.Need] = true
			c := jetstream.ConsumerConfig{
				Durable: u.pool(), Description: u.Need, FilterSubject: subject + ">",
				AckPolicy: jetstream.AckExplicitPolicy, AckWait: lost, MaxDeliver: -1, MaxAckPending: 10_000,
			}
			if _, err := b.js.CreateOrUpdateConsumer(ctx, unitStream, c); err != nil {
				return fmt.Errorf("pool %q: %w", u.Need, err)
			}
		}
		id := jetstream.WithMsgID(u.key() + again)
		if _, err := b.js.Publish(ctx, subject+u.key(), encode(u), id); err != nil {
			return fmt.Errorf("%s: %w", u.title(), err)
		}
	}
	b.wake()
	return nil
}

// reportUnmet prints which requirements no DUT meets, and what the nearest DUT lacks.
func (b *bus) reportUnmet(ctx context.Context, units []unit, log io.Writer) error {
	duts, err := all[dutInfo](ctx, b, "dut", "*")
	known := map[string]bool{}
	for _, u := range units {
		if text := unmet(u.Need, duts); text != "" && !known[u.Need] {
			fmt.Fprintf(log, "vmtb-fleet: no DUT meets %q, which %s needs: %s\n", u.Need, u.title(), text)
		}
		known[u.Need] = true
	}
	return err
}

// unmet returns the terms that the nearest DUT does not meet, or "" if a DUT meets all.
func unmet(need string, duts map[string]dutInfo) string {
	best, least := "there are no DUTs", 0
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

// cancel ends a run: agents interrupt its running units, and waiting units are not run.
func (b *bus) cancel(ctx context.Context, id string) error {
	r, e, sub, err := b.run(ctx, id)
	if err != nil {
		return err
	}
	r.Cancelled = true
	if _, err := b.swap(ctx, "run."+id, e, r); err != nil {
		return err
	}
	b.wake()
	claims, err := all[claim](ctx, b, "claim", id+".*")
	if err != nil {
		return err
	}
	for _, u := range sub.Units {
		if claims[u.key()].DUT != "" {
			continue // its agent stores the result
		}
		r := result{Unit: u.Name, Exit: flow.ExitInterrupted, Why: errCancelled.Error()}
		if _, err := b.kv.Create(ctx, "result."+u.key(), encode(r)); notConflict(err) != nil {
			return err
		}
	}
	s, err := b.js.Stream(ctx, unitStream)
	if err != nil {
		return err
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject("unit.*."+id+".>"))
}

// repair queues the units of a run without a result again, after the queue was lost or purged.
func (b *bus) repair(ctx context.Context, id string, lost time.Duration) (n int, err error) {
	_, _, sub, err := b.run(ctx, id)
	if err != nil {
		return 0, err
	}
	results, err := all[result](ctx, b, "result", id+".*")
	if err != nil {
		return 0, err
	}
	open := slices.DeleteFunc(sub.Units, func(u unit) bool { _, done := results[u.key()]; return done })
	return len(open), b.queue(ctx, open, lost, fmt.Sprintf(".%d", time.Now().UnixNano()))
}
