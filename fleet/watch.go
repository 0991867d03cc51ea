package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"vmtb/flow"
	"vmtb/internal/ansi"
)

// A viewer shows a run of several DUTs: a line for each flow that ends.
type viewer struct {
	out     io.Writer
	json    *json.Encoder // if not nil, the viewer prints JSON instead of lines for people
	flows   int
	seen    map[string]bool // lines of the log
	summary flow.Summary
	ended   map[string]bool // flows
}

// entry shows a line of a DUT's journal, unless it was shown before.
func (v *viewer) entry(subject string, e flow.Entry, _ []byte) {
	line := fmt.Sprint(subject, " ", e.Seq)
	if e.Seq == 0 || e.Phase == flow.PhaseRun || v.seen[line] {
		return
	}
	v.seen[line] = true
	e.DUT = strings.Split(subject, ".")[1] // log.DUT.RUN.UNIT.ATTEMPT
	v.show(e)
}

func (v *viewer) show(e flow.Entry) {
	ends := e.Event == flow.End && e.Phase == flow.PhaseCase
	if ends {
		v.ended[e.ID.String()] = true
		v.summary.Add(e)
	}
	reason, _, _ := strings.Cut(e.Reason, "\n")
	text := ""
	switch {
	case v.json != nil:
		_ = v.json.Encode(e) // a closed output does not end the run
	case ends:
		percent := 100 * len(v.ended) / max(1, v.flows)
		took := e.Duration.Round(100 * time.Millisecond)
		text = fmt.Sprintf("[%3d%%] %-10s %s  %s on %s %s", percent, e.Result, e.ID, took, e.DUT, reason)
	case e.Event == flow.End && e.Result != "" && e.Phase != flow.PhaseStep:
		text = fmt.Sprintf("       %-10s %s %s on %s: %s", e.Result, e.Phase, e.ID, e.DUT, reason)
	}
	if text != "" {
		fmt.Fprintln(v.out, ansi.Printable(text))
	}
}

// watch shows a run until all of its units have a result, or its deadline has passed, and returns
// its exit code.
func watch(ctx context.Context, b *bus, id string, out io.Writer, asJSON bool) (code int, err error) {
	run, _, sub, err := b.run(ctx, id)
	if err != nil {
		return 0, err
	}
	v := &viewer{out: out, seen: map[string]bool{}, ended: map[string]bool{}, flows: len(sub.Order)}
	if asJSON {
		v.json = json.NewEncoder(out)
	}
	c, err := b.logOf(ctx, id)
	if err != nil {
		return 0, err
	}
	w, err := b.kv.Watch(ctx, "result."+id+".*")
	if err != nil {
		return 0, err
	}
	defer w.Stop() //nolint:errcheck // it ends with the connection
	results, err := v.follow(ctx, c, w, run.Deadline, len(sub.Units))
	if err != nil {
		return 0, err
	}
	return v.end(id, sub, results), nil
}

// follow shows the log until all units have a result, or the deadline has passed, and returns the
// results.
func (v *viewer) follow(ctx context.Context, log jetstream.Consumer, stored jetstream.KeyWatcher,
	deadline time.Time, units int,
) (map[string]result, error) {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	results := map[string]result{}
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case e := <-stored.Updates():
			var r result
			if e != nil && json.Unmarshal(e.Value(), &r) == nil {
				results[r.Unit] = r
			}
			continue
		case <-tick.C:
		}
		late := !deadline.IsZero() && time.Now().After(deadline)
		n, err := drain(log, v.entry) // a DUT logs what it has before it stores its result
		if err == nil && n == 0 && (late || len(results) == units) {
			return results, nil
		}
	}
}

// exitOrder has the exit codes by precedence: the first that a unit has is the run's, as in vmtb.
var exitOrder = []int{
	flow.ExitNotRestored, flow.ExitInterrupted, flow.ExitAborted, flow.ExitUsage, flow.ExitFail, flow.ExitError,
}

// end shows a result for each flow that has none, and the end of the run. It returns the exit code.
func (v *viewer) end(id string, sub submission, results map[string]result) (code int) {
	ids := map[string]flow.ID{}
	for _, id := range sub.Order {
		ids[id.String()] = id
	}
	codes := map[int]bool{}
	for _, u := range sub.Units {
		r, ok := results[u.Name]
		if !ok {
			r = result{Exit: flow.ExitError, Why: errDeadline.Error()}
		}
		codes[r.Exit] = true
		for _, id := range u.IDs {
			if v.ended[id] {
				continue
			}
			e := flow.Entry{
				Event: flow.End, Phase: flow.PhaseCase, ID: ids[id], DUT: r.DUT, Result: flow.Incomplete, Reason: r.Why,
				Time: time.Now(),
			}
			if r.DUT == "" {
				e.Result = flow.NotRun
			}
			v.show(e)
		}
	}
	if i := slices.IndexFunc(exitOrder, func(c int) bool { return codes[c] }); i >= 0 {
		code = exitOrder[i]
	}
	if v.json != nil {
		v.show(flow.Entry{Event: flow.End, Phase: flow.PhaseRun, Time: time.Now(), ExitCode: &code})
		return code
	}
	var parts []string
	for _, r := range flow.Results {
		if n := v.summary.Counts[r]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, r))
		}
	}
	fmt.Fprintf(v.out, "run %s: %s; exit code %d\n", id, strings.Join(parts, ", "), code)
	return code
}
