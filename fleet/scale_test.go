package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"vmtb/flow"
	"vmtb/internal/procfs"
)

const scaleFile = "test_scale"

// 200 agents whose vmtb takes no time empty a queue of 2,000 units, each with a journal, at more than
// 100 units a second. The server stays below 300 MB, and a watch of the run shows each flow as it ends
// (check 19). The rate is computed from the processor time of the test and the server, as if they ran on
// two cores without other load.
func TestScale(t *testing.T) {
	const agents, units = 200, 2000
	l := startLab(t, long)
	b := l.admin()
	server := l.running()["server"].Process.Pid
	var sub submission
	for i := range units {
		id := flow.ID{File: scaleFile, Case: fmt.Sprintf("test_%d", i)}
		u := unit{
			Run: "scale", Name: word(id.String()), Fixture: id.String(), IDs: []string{id.String()},
			Need: fmt.Sprintf("vfs>=%d", i%10),
		}
		sub.Units, sub.Order = append(sub.Units, u), append(sub.Order, id)
	}
	if _, err := b.objects.PutBytes(t.Context(), submissionName("scale"), encode(sub)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.kv.Create(t.Context(), "run.scale", encode(runInfo{})); err != nil {
		t.Fatal(err)
	}
	if err := b.queue(t.Context(), sub.Units, long, ""); err != nil {
		t.Fatal(err)
	}
	var shown lineCount
	var code int
	var watched error
	watcher := l.admin()
	var watching sync.WaitGroup
	watching.Go(func() { code, watched = watch(t.Context(), watcher, "scale", &shown, false) })
	before, began := used(t, server), time.Now()
	var done atomic.Int32
	var wg sync.WaitGroup
	for i := range agents {
		wg.Go(func() {
			c, err := dial(b.key)
			if err == nil {
				defer c.nc.Close()
				err = c.open(t.Context())
			}
			if err != nil {
				t.Error(err)
				return
			}
			a := &agent{bus: c, dut: fmt.Sprintf("dut%d", i), info: dutInfo{Labels: map[string]string{"vfs": "12"}}}
			for done.Load() < units && t.Context().Err() == nil {
				if err := a.pretend(t, &done); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took, cpu := time.Since(began), used(t, server)-before
	behind := units - shown.Load()
	watching.Wait()
	if watched != nil || code != 0 || shown.Load() != units+1 {
		t.Errorf("watch: %d, %v, %d lines; want one for each flow and one for the run", code, watched, shown.Load())
	}
	if behind > units/2 {
		t.Errorf("watch was %d of %d flows behind when the last one had ended", behind, units)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server))
	if err != nil {
		t.Fatal(err)
	}
	rss, _ := strconv.Atoi(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(string(status))[1])
	rate := 2 * units / cpu.Seconds()
	t.Logf(
		"%d units in %v; %v of the processor, which are %.0f units/s on two cores; the server had %d MB; watch was %d "+
			"flows behind at the end", units, took, cpu, rate, rss>>10, behind,
	)
	if rate < 100 {
		t.Errorf("%.0f units/s", rate)
	}
	if rss > 300<<10 {
		t.Errorf("the server had %d kB", rss)
	}
	if n := l.queued(b); n > 0 {
		t.Errorf("%d units are left", n)
	}
}

// pretend takes a unit like an agent, and stores a result without running vmtb.
func (a *agent) pretend(t *testing.T, done *atomic.Int32) error {
	ctx := t.Context()
	pools, err := a.pools(ctx)
	for _, pool := range pools {
		var m jetstream.Msg
		if m, err = a.fetch(ctx, pool); err != nil || m == nil {
			continue
		}
		var u unit
		if err := json.Unmarshal(m.Data(), &u); err != nil {
			return err
		}
		_, e, err := get[claim](ctx, a.bus, "claim."+u.key())
		if err == nil {
			_, err = a.swap(ctx, "claim."+u.key(), e, claim{DUT: a.dut, Attempt: 1})
		}
		if err == nil {
			err = a.pretendJournal(ctx, u)
		}
		if err == nil {
			_, err = a.kv.Create(ctx, "result."+u.key(), encode(result{Unit: u.Name, DUT: a.dut, Attempt: 1}))
		}
		if err == nil {
			err = m.DoubleAck(ctx)
		}
		done.Add(1)
		return err
	}
	return err
}

// pretendJournal logs the lines of a unit with one flow of one step.
func (a *agent) pretendJournal(ctx context.Context, u unit) error {
	id := flow.ID{File: scaleFile, Case: strings.TrimPrefix(u.IDs[0], scaleFile+"::")}
	for i, e := range []flow.Entry{
		{Event: flow.Begin, Phase: flow.PhaseRun},
		{Event: flow.Begin, Phase: flow.PhaseCase, ID: id},
		{Event: flow.Begin, Phase: flow.PhaseStep, ID: id, Name: "pretend"},
		{Event: flow.End, Phase: flow.PhaseStep, ID: id, Name: "pretend"},
		{Event: flow.End, Phase: flow.PhaseCase, ID: id, Result: flow.Pass},
		{Event: flow.End, Phase: flow.PhaseRun, ExitCode: new(int)},
	} {
		e.Seq, e.Time = i+1, time.Now()
		subject := fmt.Sprintf("log.%s.%s.1", a.dut, u.key())
		if _, err := a.js.Publish(ctx, subject, append(encode(e), '\n')); err != nil {
			return err
		}
	}
	return nil
}

// A lineCount counts the lines that are written to it.
type lineCount struct{ atomic.Int64 }

func (c *lineCount) Write(p []byte) (int, error) {
	c.Add(int64(bytes.Count(p, []byte("\n"))))
	return len(p), nil
}

// used returns the processor time that this process and another process have used.
func used(t *testing.T, pid int) time.Duration {
	t.Helper()
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		t.Fatal(err)
	}
	stat, err := procfs.Read(pid)
	if err != nil {
		t.Fatal(err)
	}
	return stat.CPU() + time.Duration(own.Utime.Nano()+own.Stime.Nano())
}
