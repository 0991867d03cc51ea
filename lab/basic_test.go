//go:build lab

package lab_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/flow"
)

// workScale is the scale of work in test_basic. The shortened work, 9 s of 30, still covers the
// steps beside it.
const workScale = 0.3

const (
	store2VF = "test_basic::TestVmWorkload::test_store[2VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)]"
	wsim1VF  = "test_basic::TestVmWorkload::test_wsim[1VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)]"
	wsim2VF  = "test_basic::TestVmWorkload::test_wsim[2VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)]"
)

// TestRates: work runs at the rate of the GPU's shares. The DUT's clock follows its CPU, so tests
// beside it do no harm.
func TestRates(t *testing.T) {
	t.Parallel()
	d := start(t)
	t.Run("test_basic", d.testBasic)
	t.Run("unequal shares", d.testUnequalShares)
}

// testStore: IGT's runner runs one of IGT's tests in two guests at once, and on the host. The short
// form of an id runs only the flow whose id begins with it.
func (d *dut) testStore(t *testing.T) {
	code, dir, err := d.run(t.Context(), "--warm", "test_basic::TestVmWorkload::test_store[2VF]")
	if err != nil || code != flow.ExitPass {
		t.Errorf("exit code %d, %v", code, err)
	}
	if got := results(t, dir); len(got) != 1 || got[store2VF] != flow.Pass {
		t.Errorf("got %v, want a pass of %s", got, store2VF)
	}
	resultsRead(t, dir)
	d.clean(t)
}

// testBasic: the flows of test_basic that do work pass. The one that compares machines is skipped
// if there is only one machine. TestUpstream has every flow: four machines show nothing more than
// two, TestRealDriver has TestVmSetup, and TestLab has test_store. Failed flows are rerun, because
// other load on this machine can disturb their rates. Shares that are really unequal fail each
// time.
func (d *dut) testBasic(t *testing.T) {
	code, dir, err := d.run(t.Context(), "--warm", "--workload-scale", fmt.Sprint(workScale), "--rerun-failed", "2",
		"-k", "not 4VF and not TestVmSetup and not test_store", "test_basic")
	if err != nil || code != flow.ExitPass {
		t.Errorf("exit code %d, %v", code, err)
	}
	got := results(t, dir)
	if len(got) != 4 {
		t.Errorf("%d results, want 4", len(got))
	}
	for id, result := range got {
		want := flow.Pass
		if id == wsim1VF {
			want = flow.Skip
		}
		if result != want {
			t.Errorf("%s: %s, want %s", id, result, want)
		}
	}
	run, err := flow.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	onlyRatesAgain(t, run)
	var config bench.Config
	if err := json.Unmarshal(run.Info.Config, &config); err != nil || config.WorkloadScale != workScale {
		t.Errorf("the run does not record the scale of work: %v, %v", config.WorkloadScale, err)
	}
	d.clean(t)
}

// onlyRatesAgain reports failed attempts of flows that measure no rates. A later pass does not
// excuse them.
func onlyRatesAgain(t *testing.T, run *flow.RunDir) {
	t.Helper()
	rates := []string{"test_wsim", "test_load", "test_reload"}
	for _, e := range run.Entries {
		if e.Phase != flow.PhaseCase || e.Event != flow.End || e.Result == flow.Pass || e.Result == flow.Skip {
			continue
		}
		t.Logf("%s, attempt %d: %s: %s", e.ID, max(1, e.Attempt), e.Result, e.Reason)
		if !slices.Contains(rates, e.ID.Case) {
			t.Errorf("%s: %s, and it measures no rates", e.ID, e.Result)
		}
	}
}

// testUnequalShares: the flow fails if the GPU gives one VF more time than the other.
func (d *dut) testUnequalShares(t *testing.T) {
	const fault = "fault-favour"
	d.fault(t, fault, 1<<1) // VF1
	code, dir, err := d.run(t.Context(), "--warm", "--workload-scale", "0.05", wsim2VF)
	d.fault(t, fault, 0)
	if err != nil || code != flow.ExitFail {
		t.Errorf("exit code %d, %v; want %d", code, err, flow.ExitFail)
	}
	run, err := flow.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range run.Entries {
		if e.Phase != flow.PhaseCase || e.Event != flow.End {
			continue
		}
		for _, says := range []string{"vm1 took ", "they differ by", "more than 10 %"} {
			if !strings.Contains(e.Reason, says) {
				t.Errorf("%s: %s for %q, which does not say %q", e.ID, e.Result, e.Reason, says)
			}
		}
		if e.Result != flow.Fail || e.Blame != "" {
			t.Errorf("%s: %s, blame %q; want a fail that is the flow's own finding", e.ID, e.Result, e.Blame)
		}
	}
	d.clean(t)
}
