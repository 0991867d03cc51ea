package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmtb/flow"
)

// TestChaos kills DUTs, agents, vmtb and the server at random with SIGKILL while 40 units run on
// three DUTs. Some DUTs stay away longer than their leases. In the end every flow has exactly one
// result that counts, the queue is empty, and every attempt's run directory can be read.
// FLEET_CHAOS=20 runs 20 seeds.
func TestChaos(t *testing.T) {
	seeds := 3
	if n, err := strconv.Atoi(os.Getenv("FLEET_CHAOS")); err == nil {
		seeds = n
	}
	for seed := 1; seed <= seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { chaos(t, uint64(seed)) })
	}
}

func chaos(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, seed))
	l := newLab(t, short)
	names := []string{"server", "dut1", "dut2", "dut3"}
	for i, vfs := range []string{"4", "12", "24"} {
		l.dut(names[i+1], map[string]string{"vfs": vfs})
	}
	b := l.admin()
	id := l.submit("--id=chaos", "test_toy::TestMany")
	l.submit("--id=chaos", "test_toy::TestMany") // a second time: the engine drops the units that it has
	began, kills := time.Now(), map[string]int{}
	back := map[string]time.Time{} // when a killed process starts again
	next := began
	l.wait("results of all units", func() bool {
		for name, at := range back {
			if time.Now().After(at) {
				l.start(name)
				delete(back, name)
			}
		}
		if len(l.done(b, id)) == 40 {
			return true
		}
		if time.Now().Before(next) || time.Since(began) > 20*time.Second {
			return false
		}
		next = time.Now().Add(time.Duration(300+rng.IntN(1200)) * time.Millisecond)
		name := names[rng.IntN(len(names))]
		if _, down := back[name]; down {
			return false
		}
		what := "whole"
		switch kind := rng.IntN(5); {
		case name != "server" && kind == 0:
			l.killAgent(name)
			what = "agent"
		case name != "server" && kind == 1:
			for _, pid := range l.children(name) {
				if cmd := l.running()[name]; cmd == nil || pid != cmd.Process.Pid {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			kills["vmtb of a DUT"]++
			return false
		default:
			l.kill(name)
		}
		down := time.Duration(100+rng.IntN(900)) * time.Millisecond
		if name != "server" && rng.IntN(5) == 0 {
			down, what = l.lost+2*time.Second, what+", long"
		}
		back[name] = time.Now().Add(down)
		if name != "server" {
			name = "DUT"
		}
		kills[name+" "+what]++
		return false
	})
	for name := range back {
		l.start(name)
	}
	took := time.Since(began)
	l.wait("an empty queue, and spools", func() bool {
		return l.queued(b) == 0 && !l.has("dut1", "spool/units/*") && !l.has("dut2", "spool/units/*") &&
			!l.has("dut3", "spool/units/*")
	})
	results := l.done(b, id)
	run := l.fetch(id, 120) // it fails unless every object can be read
	extra, err := all[result](t.Context(), b, "extra", ">")
	if err != nil {
		t.Fatal(err)
	}
	attempts, lostTwo := map[int]int{}, false
	for _, r := range results {
		attempts[r.Attempt]++
		lostTwo = lostTwo || r.Why != ""
		if r.Object == "" && !strings.HasPrefix(r.Why, "the unit made these DUTs fail") {
			t.Errorf("%s has no run directory: %s", r.Unit, r.Why)
		}
	}
	ends := map[flow.ID]int{}
	for _, e := range run.Entries {
		if e.Phase == flow.PhaseCase && e.Event == flow.End && e.Result != flow.Incomplete && e.Result != flow.NotRun {
			ends[e.ID]++
		}
	}
	for flow, n := range ends {
		if n > 1 && len(extra) == 0 {
			t.Errorf("%s has %d results, and no unit has more than one attempt", flow, n)
		}
	}
	c := counts(run)
	total := 0
	for _, n := range c {
		total += n
	}
	if total != 120 || c[flow.NotRun] > 0 && !lostTwo || c[flow.Error] > 0 {
		t.Errorf("results: %v", c)
	}
	for _, dut := range names[1:] {
		if l.has(dut, "changed-*") {
			t.Errorf("%s is not restored", dut)
		}
	}
	t.Logf(
		"seed %d: %v, killed %v; results %v; attempts %v; extra %d", seed, took.Round(time.Second), kills, c, attempts,
		len(extra),
	)
	if !strings.Contains(run.Info.Participants(), "Participating DUTs 3 of 3") {
		t.Log(run.Info.Participants())
	}
}
