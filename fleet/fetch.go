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
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"vmtb/flow"
)

// fetchOptions are the flags of "vmtb-fleet fetch".
type fetchOptions struct {
	dir, vmtb string
	reports   []string
}

// fetch downloads all attempts of a run, merges them into the run directory o.dir, and has vmtb
// make the reports. A run with kinds of GPUs gets a directory in o.dir for each kind.
func fetch(ctx context.Context, b *bus, id string, o fetchOptions, out io.Writer) error {
	if o.dir == "" {
		return usagef("vmtb-fleet fetch needs -o DIR")
	}
	_, _, sub, err := b.run(ctx, id)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "vmtb-fetch-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	parts, err := b.parts(ctx, id, temp)
	if err != nil {
		return err
	}
	merges := map[string]*flow.MergeOptions{}
	for _, u := range sub.Units {
		m := merges[u.Kind]
		if m == nil {
			m = &flow.MergeOptions{Out: filepath.Join(o.dir, u.Kind), Order: sub.Order, Planned: sub.Order}
			merges[u.Kind] = m
		}
		m.Parts = append(m.Parts, parts[u.Name]...)
	}
	for kind, m := range merges {
		if len(m.Parts) == 0 {
			fmt.Fprintf(out, "vmtb-fleet: no DUT has run anything yet of %s %s\n", id, kind)
			continue
		}
		run, err := flow.Merge(ctx, *m)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "run directory: %s\n", run.Info.Dir)
		if err := makeReports(ctx, o, run.Info.Dir, out); err != nil {
			return err
		}
	}
	return nil
}

// makeReports has vmtb make the reports that every run directory has, and those of o.
func makeReports(ctx context.Context, o fetchOptions, dir string, out io.Writer) error {
	reports := [][]string{nil}
	for _, r := range o.reports {
		reports = append(reports, []string{"--report=" + r})
	}
	for _, flags := range reports {
		argv := append(append(strings.Fields(o.vmtb), "report"), append(flags, dir)...)
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w (the run directory is complete)", strings.Join(argv, " "), err)
		}
	}
	return nil
}

// parts makes the run directories of all attempts of a run below dir, and returns them by unit. For
// a DUT that never came back, it makes the run directory from the DUT's log.
func (b *bus) parts(ctx context.Context, id, dir string) (map[string][]flow.Part, error) {
	parts := map[string][]flow.Part{}
	have := map[string]bool{} // "UNIT.ATTEMPT.DUT"
	for _, kind := range []string{"result", "extra"} {
		results, err := all[result](ctx, b, kind, id+".>")
		if err != nil {
			return nil, err
		}
		for _, r := range results {
			have[fmt.Sprintf("%s.%d.%s", r.Unit, r.Attempt, r.DUT)] = true
			if r.Object == "" {
				continue
			}
			p := flow.Part{Dir: filepath.Join(dir, word(r.Object)), DUT: r.DUT, Extra: kind == "extra"}
			o, err := b.objects.Get(ctx, r.Object)
			if err == nil {
				err = errors.Join(unpack(o, p.Dir, maxUnpacked), o.Close())
			}
			if err != nil {
				return nil, fmt.Errorf("the run directory of attempt %d of %s on %s: %w", r.Attempt, r.Unit, r.DUT, err)
			}
			parts[r.Unit] = append(parts[r.Unit], p)
		}
	}
	logs, err := b.logs(ctx, id)
	if err != nil {
		return nil, err
	}
	for subject, lines := range logs {
		f := strings.Split(subject, ".") // log.DUT.RUN.UNIT.ATTEMPT
		if have[f[3]+"."+f[4]+"."+f[1]] || lines[0] == nil {
			continue
		}
		p := flow.Part{Dir: filepath.Join(dir, word(subject)), DUT: f[1], Extra: len(parts[f[3]]) > 0}
		if err := lines.write(p.Dir); err != nil {
			return nil, err
		}
		parts[f[3]] = append(parts[f[3]], p)
	}
	return parts, nil
}

// A journal is the logged lines of an attempt, by sequence number. Number 0 is run.json.
type journal map[int][]byte

// logs returns the lines that the attempts of a run have logged so far, by subject.
func (b *bus) logs(ctx context.Context, id string) (map[string]journal, error) {
	c, err := b.logOf(ctx, id)
	if err != nil {
		return nil, err
	}
	logs := map[string]journal{}
	for {
		n, err := drain(c, func(subject string, e flow.Entry, line []byte) {
			if logs[subject] == nil {
				logs[subject] = journal{}
			}
			logs[subject][e.Seq] = line
		})
		if n == 0 || err != nil {
			return logs, err
		}
	}
}

// logOf returns a consumer of the log of a run.
func (b *bus) logOf(ctx context.Context, id string) (jetstream.Consumer, error) {
	filter := []string{"log.*." + id + ".*.*"}
	return b.js.OrderedConsumer(ctx, logStream, jetstream.OrderedConsumerConfig{FilterSubjects: filter})
}

// drain calls each for up to 1000 lines that the log has now, and returns their number. n is 0 if
// there are no more lines.
func drain(c jetstream.Consumer, each func(subject string, e flow.Entry, line []byte)) (n int, err error) {
	batch, err := c.FetchNoWait(1000)
	if err != nil {
		return 0, err
	}
	for m := range batch.Messages() {
		n++
		var e flow.Entry
		if json.Unmarshal(m.Data(), &e) == nil {
			each(m.Subject(), e, m.Data())
		}
	}
	return n, batch.Error()
}

// write makes a run directory from the lines up to the first missing line.
func (j journal) write(dir string) error {
	var lines []byte
	for seq := 1; j[seq] != nil; seq++ {
		lines = append(lines, j[seq]...)
	}
	return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "run.json"), j[0], 0o644),
		os.WriteFile(filepath.Join(dir, "journal.jsonl"), lines, 0o644))
}
