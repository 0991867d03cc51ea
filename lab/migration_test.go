//go:build lab

package lab_test

import (
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"vmtb/flow"
)

// migrationScale is the scale of work. The work is short, but it still runs when a machine has been
// restored: the flows check this.
const migrationScale = "0.2"

// shapes has the shapes of test_migration that differ most. "make lab-full" runs all of them
// (TestUpstream).
var shapes = []string{
	"TestBusyMigrationWsim1[2VF-(P:AUTO*]",
	"TestCheckpoint[2VF-*]",
	"test_1vm_save_restore_no_driver",
}

// TestMigration: machines are saved and restored in each way that the Python tool has.
func TestMigration(t *testing.T) {
	t.Parallel()
	d := start(t)
	args := append([]string{"--warm", "--workload-scale", migrationScale}, shapes...)
	code, dir, err := d.runMoves(t.Context(), t, args...)
	if err != nil || code != flow.ExitPass {
		t.Errorf("exit code %d, %v", code, err)
	}
	got := results(t, dir)
	if len(got) != 5 {
		t.Errorf("%d results, want 5", len(got))
	}
	passOrNotHere(t, dir, got)
	d.clean(t)
}

// TestLostWork: if the GPU loses the work of a VF, in normal operation or in a restore, the right
// case fails.
func TestLostWork(t *testing.T) {
	t.Parallel()
	const (
		class   = "test_migration::TestBusyMigrationWsim1"
		param   = "[1VF-(P:AUTO S:DEFAULT_PROFILE)-WL:short_preempt-(C:1 R:4000)]"
		save    = class + "::test_save" + param
		restore = class + "::test_restore" + param
	)
	d := start(t)
	for _, c := range []struct {
		fault, when string // when is a line of the flow's output
		want        map[string]flow.Result
		says        []string
	}{
		{
			"fault-restore-lost", "setting up",
			map[string]flow.Result{save: flow.Pass, restore: flow.Fail},
			[]string{"gem_wsim: exit code 98", "error: -125 != 0", "(drm-error)"},
		},
		{
			"fault-kill-work", "run the workload",
			map[string]flow.Result{save: flow.Fail, restore: flow.Skip},
			[]string{"Engine reset: engine_class=", "test_save did not pass: fail"},
		},
	} {
		t.Run(c.fault, func(t *testing.T) {
			during := *d
			// 1<<1 is VF1.
			during.out = io.MultiWriter(d.out, &watched{word: c.when, found: func() { d.fault(t, c.fault, 1<<1) }})
			code, dir, err := during.runMoves(t.Context(), t, "--warm", "--workload-scale", migrationScale, class+param)
			d.fault(t, c.fault, 0)
			got, exit := results(t, dir), flow.ExitFail
			if got[restore] == flow.DmesgWarn {
				// The driver has noticed the lost context before the work needed it. It has reset the GT,
				// and the work went on. The kernel's message is the finding.
				c.want[restore], exit, c.says = flow.DmesgWarn, flow.ExitPass, []string{"(drm-error)"}
			}
			if err != nil || code != exit {
				t.Errorf("exit code %d, %v; want %d", code, err, exit)
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			for _, text := range c.says {
				if got := reasons(t, dir); !strings.Contains(got, text) {
					t.Errorf("the reasons do not say %q:\n%s", text, got)
				}
			}
			d.n = during.n
			d.clean(t)
		})
	}
}

// notHere has the accepted reasons for skipped flows in the lab. Its GPU is emulated, and Debian's
// kernel lacks CONFIG_DRM_XE_DEBUG.
var notHere = []string{
	"needs compression of the GPU, but the GPU is emulated", "needs shaders of the GPU, but the GPU is emulated",
	"resfix_stoppers: not available here", "test_save did not pass: skip",
}

// passOrNotHere reports each case that neither passed nor was skipped for a reason in notHere.
func passOrNotHere(t *testing.T, dir string, got map[string]flow.Result) {
	t.Helper()
	for line := range strings.Lines(reasons(t, dir)) {
		id, reason, skipped := strings.Cut(line, ": "+string(flow.Skip)+": ")
		if skipped && slices.ContainsFunc(notHere, func(r string) bool { return strings.Contains(reason, r) }) {
			delete(got, id)
		}
	}
	allPass(t, got)
}

// allPass reports each case that did not pass.
func allPass(t *testing.T, got map[string]flow.Result) {
	t.Helper()
	for _, id := range slices.Sorted(maps.Keys(got)) {
		if got[id] != flow.Pass {
			t.Errorf("%s: %s, want %s", id, got[id], flow.Pass)
		}
	}
}

// TestUpstream runs all flows of the Python tool, in two DUTs at once, and logs the results.
// VMTB_LAB_SHARD=i/n limits it to the i-th of n parts.
func TestUpstream(t *testing.T) {
	if !full() {
		t.Skip("make lab-full does it: it takes about an hour")
	}
	t.Parallel()
	shards := []string{"1/2", "2/2"}
	if only := os.Getenv("VMTB_LAB_SHARD"); only != "" {
		shards = []string{only}
	}
	for _, shard := range shards {
		t.Run("shard "+shard, func(t *testing.T) {
			t.Parallel()
			d := start(t)
			_, dir, err := d.run(
				t.Context(), "--warm", "--workload-scale", migrationScale, "--shard", shard, "test_basic",
				"test_migration",
			)
			if err != nil {
				t.Error(err)
			}
			got := d.afterRace(t, dir)
			if got[wsim1VF] == flow.Skip { // there is no machine to compare with
				delete(got, wsim1VF)
			}
			counts := map[flow.Result]int{}
			for _, r := range got {
				counts[r]++
			}
			t.Logf("%v of %d", counts, len(got))
			passOrNotHere(t, dir, got)
			t.Log(reasons(t, dir))
			d.clean(t)
		})
	}
}

// afterRace returns the results of a run. If xe's race has made flows fail, they run again, and these
// results count.
func (d *dut) afterRace(t *testing.T, dir string) map[string]flow.Result {
	t.Helper()
	got := results(t, dir)
	if endLost(t, dir) {
		_, again, err := d.runMoves(t.Context(), t, failedClasses(got)...)
		if err != nil {
			t.Error(err)
		}
		maps.Copy(got, results(t, again))
	}
	return got
}

// caseOfClass is the case in an id with a class.
var caseOfClass = regexp.MustCompile(`^([^[]*::[^[]*)::[^[]*`)

// failedClasses selects the classes of the cases that failed, with their parameters: a case may need
// the one before it.
func failedClasses(got map[string]flow.Result) []string {
	var list []string
	for id, result := range got {
		if result != flow.Pass && result != flow.Skip {
			list = append(list, caseOfClass.ReplaceAllString(id, "$1"))
		}
	}
	slices.Sort(list)
	return append([]string{"--workload-scale", migrationScale}, slices.Compact(list)...)
}

// reasons returns the reasons of all cases that did not pass.
func reasons(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, e := range ended(t, dir) {
		if e.Result != flow.Pass {
			fmt.Fprintf(&b, "%s: %s: %s\n", e.ID, e.Result, e.Reason)
		}
	}
	return b.String()
}
