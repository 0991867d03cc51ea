package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"vmtb/flow"
)

// A viewer shows a run of several DUTs: a line for each flow that ends.
type viewer struct {
	out     io.Writer
	json    *json.Encoder // instead of lines for people, if it is not nil
	flows   int
	seen    map[string]bool
	results map[string]flow.Result // by flow, the last one
}

// entry shows a line of a DUT's journal, once.
func (v *viewer) entry(m jetstream.Msg) {
	parts := strings.Split(m.Subject(), ".") // log.DUT.RUN.UNIT.ATTEMPT
	var e flow.Entry
	if len(parts) != 5 || json.Unmarshal(m.Data(), &e) != nil || e.Seq == 0 {
		return
	}
	key := fmt.Sprintf("%s %d", m.Subject(), e.Seq)
	if v.seen[key] || e.Phase == flow.PhaseRun {
		return
	}
	v.seen[key] = true
	e.DUT = parts[1]
	v.show(e)
}

func (v *viewer) show(e flow.Entry) {
	ends := e.Event == flow.End && e.Phase == flow.PhaseCase
	if ends {
		v.results[e.ID.String()] = e.Result
	}
	switch reason, _, _ := strings.Cut(printable(e.Reason), "\n"); {
	case v.json != nil:
		_ = v.json.Encode(e) // a reader that went away does not end the run
	case ends:
		if e.DUT != "" {
			reason = strings.TrimSpace("on " + e.DUT + " " + reason)
		}
		fmt.Fprintf(v.out, "[%3d%%] %-10s %s  %s %s\n", 100*len(v.results)/max(1, v.flows), e.Result, printable(e.ID.String()),
			e.Duration.Round(100*time.Millisecond), reason)
	case e.Event == flow.End && e.Result != "" && e.Phase != flow.PhaseStep:
		fmt.Fprintf(v.out, "       %-10s %s %s on %s: %s\n", e.Result, e.Phase, printable(e.ID.String()), e.DUT, reason)
	}
}

// printable keeps control characters from the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// watch shows a run until all of its units have a result, or its deadline has passed, and returns
// its exit code.
func watch(ctx context.Context, b *bus, id string, out io.Writer, asJSON bool) (code int, err error) {
	run, _, err := b.run(ctx, id)
	if err != nil {
		return 0, err
	}
	sub, err := b.submitted(ctx, id)
	if err != nil {
		return 0, err
	}
	v := &viewer{out: out, seen: map[string]bool{}, results: map[string]flow.Result{}}
	if asJSON {
		v.json = json.NewEncoder(out)
	}
	for _, u := range sub.Units {
		v.flows += len(u.IDs)
	}
	results, err := v.follow(ctx, b, run, sub)
	if err != nil {
		return 0, err
	}
	return v.end(run, sub, results), nil
}

// follow shows what happens until the run is over, and returns the results of its units.
func (v *viewer) follow(ctx context.Context, b *bus, run runInfo, sub submission) (map[string]result, error) {
	w, err := b.results.Watch(ctx, run.ID+".*")
	if err != nil {
		return nil, err
	}
	defer w.Stop() //nolint:errcheck // it ends with the connection
	subjects := "log.*." + run.ID + ".>"
	lines, stop, err := b.lines(ctx, subjects)
	if err != nil {
		return nil, err
	}
	defer stop()
	var late <-chan time.Time
	if !run.Deadline.IsZero() {
		late = time.After(time.Until(run.Deadline))
	}
	results := map[string]result{}
	var last, at uint64 // sequence numbers of the log: the last of this run, and where we are
	for len(results) < len(sub.Units) || at < last {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-late:
			return results, nil
		case m := <-lines:
			v.entry(m)
			if meta, err := m.Metadata(); err == nil {
				at = meta.Sequence.Stream
			}
			continue
		case e := <-w.Updates():
			var r result
			if e == nil || json.Unmarshal(e.Value(), &r) != nil {
				continue
			}
			results[r.Unit] = r
		}
		if len(results) == len(sub.Units) { // what a DUT has logged is in the log before its result is
			if last, err = b.lastLogged(ctx, subjects); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// lines are those of the log under subjects, from the first one on, as they come.
func (b *bus) lines(ctx context.Context, subjects string) (lines chan jetstream.Msg, stop func(), err error) {
	c, err := b.js.OrderedConsumer(ctx, logStream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subjects}})
	if err != nil {
		return nil, nil, err
	}
	lines = make(chan jetstream.Msg)
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.Consume(func(m jetstream.Msg) {
		select {
		case lines <- m:
		case <-ctx.Done():
		}
	})
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return lines, func() { cancel(); stream.Stop() }, nil
}

// lastLogged is the sequence number of the newest line of the log under subjects, 0 if there is
// none.
func (b *bus) lastLogged(ctx context.Context, subjects string) (uint64, error) {
	s, err := b.js.Stream(ctx, logStream)
	if err != nil {
		return 0, err
	}
	m, err := s.GetLastMsgForSubject(ctx, subjects)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

// exitOrder is which exit code of several counts, as in a run of vmtb.
var exitOrder = []int{flow.ExitNotRestored, flow.ExitInterrupted, flow.ExitAborted, flow.ExitUsage, flow.ExitFail, flow.ExitError}

// end shows how the run ended, with a result for each flow that has none.
func (v *viewer) end(run runInfo, sub submission, results map[string]result) (code int) {
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
			if v.results[id] != "" {
				continue
			}
			e := flow.Entry{Event: flow.End, Phase: flow.PhaseCase, ID: ids[id], DUT: r.DUT, Result: flow.Incomplete, Reason: r.Why, Time: time.Now()}
			if r.DUT == "" || !ok {
				e.Result = flow.NotRun
			}
			v.show(e)
		}
	}
	for _, c := range exitOrder {
		if codes[c] {
			code = c
			break
		}
	}
	if v.json != nil {
		_ = v.json.Encode(flow.Entry{Event: flow.End, Phase: flow.PhaseRun, Time: time.Now(), ExitCode: &code}) // see show
		return code
	}
	counts := map[flow.Result]int{}
	for _, r := range v.results {
		counts[r]++
	}
	var parts []string
	for _, r := range flow.Results {
		if n := counts[r]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, r))
		}
	}
	fmt.Fprintf(v.out, "run %s: %s; exit code %d\n", run.ID, strings.Join(parts, ", "), code)
	return code
}
