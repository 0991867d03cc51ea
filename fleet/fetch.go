package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"vmtb/flow"
)

// fetch brings all attempts of a run, merged into the run directory dir, and has vmtb make the
// reports. A run with kinds has a directory in dir for each.
func fetch(ctx context.Context, b *bus, id, dir, vmtb string, reports []string, out io.Writer) error {
	if _, _, err := b.run(ctx, id); err != nil {
		return err
	}
	sub, err := b.submitted(ctx, id)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), ".vmtb-fetch-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	parts, err := b.parts(ctx, id, temp)
	if err != nil {
		return err
	}
	byKind := map[string][]flow.Part{}
	var expected []string
	for _, u := range sub.Units {
		byKind[u.Kind] = append(byKind[u.Kind], parts[u.Name]...)
		for _, p := range parts[u.Name] {
			expected = append(expected, p.DUT)
		}
	}
	for kind, parts := range byKind {
		if len(parts) == 0 {
			fmt.Fprintf(out, "vmtb-fleet: nothing has been run yet of %s %s\n", id, kind)
			continue
		}
		o := flow.MergeOptions{Parts: parts, Out: filepath.Join(dir, kind), Order: sub.Order, Planned: sub.Order}
		if kind == "" {
			o.Expected = expected
		}
		run, err := flow.Merge(ctx, o)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "run directory: %s\n", run.Info.Dir)
		err = makeReports(ctx, vmtb, run.Info.Dir, nil, out)
		if err == nil && len(reports) > 0 {
			err = makeReports(ctx, vmtb, run.Info.Dir, reports, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// makeReports has vmtb make reports of a run directory: without any, those that every run directory
// has.
func makeReports(ctx context.Context, vmtb, dir string, reports []string, out io.Writer) error {
	argv := append(strings.Fields(vmtb), "report")
	for _, r := range reports {
		argv = append(argv, "--report="+r)
	}
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], dir)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w (%s is there: vmtb report makes its reports)", strings.Join(argv, " "), err, dir)
	}
	return nil
}

// parts are the run directories of all attempts of a run, below dir, by unit. What a DUT logged
// that never came back is one, too.
func (b *bus) parts(ctx context.Context, id, dir string) (map[string][]flow.Part, error) {
	results, err := all[result](ctx, b.results, id+".*")
	if err != nil {
		return nil, err
	}
	extra, err := all[result](ctx, b.results, "extra."+id+".>")
	if err != nil {
		return nil, err
	}
	parts := map[string][]flow.Part{}
	have := map[string]bool{}
	for key, r := range results {
		extra[key] = r
	}
	for key, r := range extra {
		have[fmt.Sprintf("%s.%d.%s", r.Unit, r.Attempt, r.DUT)] = true
		if r.Object == "" {
			continue
		}
		p := flow.Part{Dir: filepath.Join(dir, word(r.Object)), DUT: r.DUT, Extra: strings.HasPrefix(key, "extra.")}
		o, err := b.objects.Get(ctx, r.Object)
		if err == nil {
			err = errors.Join(unpack(o, p.Dir, maxUnpacked), o.Close())
		}
		if err != nil {
			return nil, fmt.Errorf("the run directory of attempt %d of %s on %s: %w", r.Attempt, r.Unit, r.DUT, err)
		}
		parts[r.Unit] = append(parts[r.Unit], p)
	}
	logged, err := b.logged(ctx, id)
	if err != nil {
		return nil, err
	}
	for subject, lines := range logged {
		f := strings.Split(subject, ".") // log.DUT.RUN.UNIT.ATTEMPT
		if have[f[3]+"."+f[4]+"."+f[1]] {
			continue
		}
		p := flow.Part{Dir: filepath.Join(dir, word(subject)), DUT: f[1], Extra: len(parts[f[3]]) > 0}
		if ok, err := lines.write(p.Dir); err != nil {
			return nil, err
		} else if ok {
			parts[f[3]] = append(parts[f[3]], p)
		}
	}
	return parts, nil
}

// A journal is what an attempt has logged: by sequence number, run.json is number 0.
type journal map[int][]byte

// logged is what the attempts of a run have logged so far, by subject.
func (b *bus) logged(ctx context.Context, id string) (map[string]journal, error) {
	c, err := b.js.OrderedConsumer(ctx, logStream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{"log.*." + id + ".>"}})
	if err != nil {
		return nil, err
	}
	logs := map[string]journal{}
	for left := c.CachedInfo().NumPending; left > 0; {
		batch, err := c.Fetch(int(min(left, 500)), jetstream.FetchMaxWait(answerTime))
		if err != nil {
			return nil, err
		}
		n := uint64(0)
		for m := range batch.Messages() {
			n++
			var head struct {
				Seq int `json:"seq"`
			}
			if json.Unmarshal(m.Data(), &head) != nil || strings.Count(m.Subject(), ".") != 4 {
				continue
			}
			if logs[m.Subject()] == nil {
				logs[m.Subject()] = journal{}
			}
			logs[m.Subject()][head.Seq] = m.Data()
		}
		if n == 0 {
			return nil, fmt.Errorf("the log of %s: %w", id, errors.Join(batch.Error(), context.DeadlineExceeded))
		}
		left -= min(left, n)
	}
	return logs, nil
}

// write makes a run directory of what was logged up to the first line that is missing. ok is false
// if run.json is.
func (j journal) write(dir string) (ok bool, err error) {
	info, ok := j[0]
	if !ok {
		return false, nil
	}
	var lines []byte
	for seq := 1; j[seq] != nil; seq++ {
		lines = append(lines, j[seq]...)
	}
	err = os.MkdirAll(dir, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "run.json"), info, 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "journal.jsonl"), lines, 0o644)
	}
	return true, err
}

// listDUTs shows the DUTs, and what they do.
func listDUTs(ctx context.Context, b *bus, out io.Writer, asJSON bool) error {
	duts, err := all[dutInfo](ctx, b.duts, ">")
	if err != nil {
		return err
	}
	var list []dutInfo
	for _, d := range duts {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b dutInfo) int { return strings.Compare(a.Name, b.Name) })
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	}
	for _, d := range list {
		silent := ""
		if age := time.Since(d.Seen).Round(time.Second); age > defaultLost/leaseBeats*4 {
			silent = fmt.Sprintf(", silent for %v", age)
		}
		what := strings.TrimSpace(d.Unit + " " + d.Why)
		fmt.Fprintf(out, "%-16s %-9s gpu=%s vfs=%s kernel=%s%s  %s\n", d.Name, d.State, d.Labels["gpu"], d.Labels["vfs"], d.Labels["kernel"], silent, what)
	}
	return nil
}
