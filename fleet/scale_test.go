package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"vmtb/flow"
	"vmtb/internal/procfs"
)

// 200 agents whose vmtb takes no time empty a queue of 2,000 units at more than 100 units a second,
// the server stays below 300 MB, and watch keeps up (check 19). The rate is computed from the
// processor time of the test and the server, as if they ran on two cores without other load.
func TestScale(t *testing.T) {
	const agents, units = 200, 2000
	l := startLab(t, long)
	b := l.admin()
	server := l.running()["server"].Process.Pid
	var sub submission
	for i := range units {
		id := flow.ID{File: "test_scale", Case: fmt.Sprintf("test_%d", i)}
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
	code, err := watch(t.Context(), b, "scale", io.Discard, false)
	if err != nil || code != 0 {
		t.Errorf("watch: %d, %v", code, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server))
	if err != nil {
		t.Fatal(err)
	}
	rss, _ := strconv.Atoi(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(string(status))[1])
	rate := 2 * units / cpu.Seconds()
	t.Logf(
		"%d units in %v; %v of the processor, which are %.0f units/s on two cores; the server had %d MB", units, took,
		cpu, rate, rss>>10,
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
