//go:build lab

package lab_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"vmtb/flow"
)

// migrationScale is little work, but enough to be there still when a machine has been restored: the flows see to that.
const migrationScale = "0.2"

// shapes has each shape of test_migration once, half of them with one VF and half with two.
var shapes = []string{
	"TestBusyMigrationWsim1[2VF-(P:AUTO*]",
	"TestBusyMigrationWsim4[1VF-*]", // the work must not pass
	"TestIdleAppMigration[1VF-*]",
	"TestBusyMigrationIgtCcs[1VF-*]",
	"TestIdleMigration[2VF-*]",
	"TestDoubleMigration1Resfix3[2VF-*]",
	"TestDoubleMigration2Resfix4[1VF-*]",
	"TestCheckpoint[2VF-*]",
	"test_2vm_pause_resume",
	"test_1vm_save_restore_no_driver",
}

// TestMigration: machines are saved and restored in each of the Python tool's ways.
func TestMigration(t *testing.T) {
	t.Parallel()
	d := start(t)
	code, dir, err := d.run(t.Context(), append([]string{"--workload-scale", migrationScale}, shapes...)...)
	if err != nil || code != flow.ExitPass {
		t.Errorf("exit code %d, %v", code, err)
	}
	got := results(t, dir)
	if len(got) != 18 {
		t.Errorf("%d results, want 18", len(got))
	}
	allPass(t, got)
	d.clean(t)
}

// TestLostWork: a driver that loses the work of a VF, by itself or in a restore, is caught, and by the right case.
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
		fault, on string
		want      map[string]flow.Result
		says      []string
	}{
		{"lose_state", "Y", map[string]flow.Result{save: flow.Pass, restore: flow.Fail}, []string{"GPU hang", "the state of the work was lost"}},
		{"kill_work", "1", map[string]flow.Result{save: flow.Fail, restore: flow.Skip}, []string{"GPU hang", "test_save did not pass: fail"}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			parameter := "/sys/module/xe/parameters/" + c.fault
			d.must(t.Context(), t, "echo "+c.on+" >"+parameter)
			code, dir, err := d.run(t.Context(), "--workload-scale", migrationScale, class+param)
			d.must(t.Context(), t, "echo 0 >"+parameter)
			if err != nil || code != flow.ExitFail {
				t.Errorf("exit code %d, %v; want %d", code, err, flow.ExitFail)
			}
			if got := results(t, dir); !maps.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			for _, text := range c.says {
				if got := reasons(t, dir); !strings.Contains(got, text) {
					t.Errorf("the reasons do not say %q:\n%s", text, got)
				}
			}
			d.clean(t)
		})
	}
}

// allPass reports what has not passed.
func allPass(t *testing.T, got map[string]flow.Result) {
	t.Helper()
	for _, id := range slices.Sorted(maps.Keys(got)) {
		if got[id] != flow.Pass {
			t.Errorf("%s: %s, want %s", id, got[id], flow.Pass)
		}
	}
}

// TestUpstream runs all that the Python tool has, in two machines under test at once, and tells what became of it. With
// VMTB_LAB_SHARD=i/n that is the i-th of n parts only.
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
			_, dir, err := d.run(t.Context(), "--workload-scale", migrationScale, "--shard", shard, "test_basic", "test_migration")
			if err != nil {
				t.Error(err)
			}
			got := results(t, dir)
			if got[wsim1VF] == flow.Skip { // there is nobody to compare with
				delete(got, wsim1VF)
			}
			counts := map[flow.Result]int{}
			for _, r := range got {
				counts[r]++
			}
			t.Logf("%v of %d", counts, len(got))
			allPass(t, got)
			t.Log(reasons(t, dir))
			d.clean(t)
		})
	}
}

// reasons are those of all cases that have not passed.
func reasons(t *testing.T, dir string) string {
	t.Helper()
	run, err := flow.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range run.Entries {
		if e.Phase == flow.PhaseCase && e.Event == flow.End && e.Result != flow.Pass {
			fmt.Fprintf(&b, "%s: %s: %s\n", e.ID, e.Result, e.Reason)
		}
	}
	return b.String()
}
