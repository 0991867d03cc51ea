//go:build lab

package lab_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vmtb/flow"
	"vmtb/lab"
)

// provisioning has flows without machines, which are quick.
const provisioning = "xe_provisioning::TestSchedulingOnly"

// TestCrash kills runs in the middle of flows, then recovers and resumes them. "make lab-full"
// kills at many more points, and more often resets the DUT.
func TestCrash(t *testing.T) {
	t.Parallel()
	d := startWith(t, lab.BuildOptions{Migration: true}, lab.Options{MayReboot: true})
	if !full() {
		d.crashes(t, 3, 1, provisioning)
		return
	}
	t.Run("provisioning", func(t *testing.T) { d.crashes(t, 20, 3, provisioning) })
	t.Run("machines", func(t *testing.T) { d.crashes(t, 8, 2, boot2VF) })
}

// crashes kills runs of a selection at this many points, spread over the run, and resets the DUT at
// others.
func (d *dut) crashes(t *testing.T, points, resets int, selection ...string) {
	t.Helper()
	lines := d.wholeRun(t, selection)
	for i := range points {
		at := 1 + i*lines/points
		d.crash(t, selection, at, false, i%2 == 0)
	}
	for i := range resets {
		at := 1 + (2*i+1)*lines/(2*resets)
		d.crash(t, selection, at, true, i%2 == 1)
	}
}

// wholeRun returns the number of lines in the journals of an undisturbed run.
func (d *dut) wholeRun(t *testing.T, selection []string) int {
	t.Helper()
	code, dir, err := d.run(t.Context(), selection...)
	if err != nil || code != flow.ExitPass {
		t.Fatalf("undisturbed: exit code %d, %v", code, err)
	}
	d.clean(t)
	return lines(dir)
}

// lines returns the number of lines in both journals.
func lines(dir string) (n int) {
	for _, name := range []string{"journal.jsonl", flow.UndoFile} {
		data, _ := os.ReadFile(filepath.Join(dir, name)) // it may not exist yet
		n += bytes.Count(data, []byte("\n"))
	}
	return n
}

// crash kills a run when its journals have this many lines. With reset, it kills the whole DUT. It
// resumes the run and checks the result; with first, it recovers the host before that.
func (d *dut) crash(t *testing.T, selection []string, at int, reset, first bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	dir := d.nextDir()
	ended := make(chan error, 1)
	go func() {
		_, err := d.runIn(ctx, dir, selection...)
		ended <- err
	}()
	for lines(dir) < at { // poll: no event reports the other machine's writes
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the run did not get to line %d: %v", at, ctx.Err())
		}
	}
	if reset {
		if err := d.Reset(ctx); err != nil {
			t.Fatal(err)
		}
	} else {
		d.must(ctx, t, `kill -9 $(cat /run/lock/vmtb.lock)`)
	}
	if err := <-ended; err == nil {
		t.Fatalf("the run ended before line %d made us kill it", at)
	}
	t.Logf("killed at line %d (reset: %v), %d lines on disk", at, reset, lines(dir))
	if first {
		d.recover(t, dir)
	}
	var out bytes.Buffer
	code, err := d.Vmtb(ctx, []string{"resume", dir}, io.MultiWriter(&out, d.out))
	if err != nil || code != flow.ExitPass && code != flow.ExitError {
		t.Fatalf("resumed after a kill at line %d: exit code %d, %v\n%s", at, code, err, out.String())
	}
	d.clean(t)
	checkResumed(t, dir, at)
	if t.Failed() {
		t.Fatalf("resume ended with %d and said:\n%s", code, out.String())
	}
}

// checkResumed checks that every case of the plan has one result. All pass, except the case in
// flight and the cases of its fixture.
func checkResumed(t *testing.T, dir string, at int) {
	t.Helper()
	run, err := flow.OpenRun(dir)
	if err != nil || run.Torn {
		t.Fatalf("killed at line %d: torn %v, %v", at, run.Torn, err)
	}
	ends := map[string]int{}
	for _, e := range run.Entries {
		if e.Phase == flow.PhaseCase && e.Event == flow.End {
			ends[e.ID.String()]++
			if e.Result != flow.Pass && e.Result != flow.DmesgWarn && e.Result != flow.Incomplete {
				t.Errorf("killed at line %d: %s is %s: %s", at, e.ID, e.Result, e.Reason)
			}
		}
	}
	for _, it := range run.Info.Plan {
		if ends[it.Name] != 1 {
			t.Errorf("killed at line %d: %s has %d results", at, it.Name, ends[it.Name])
		}
	}
}
