//go:build lab

package lab_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmtb/flow"
)

// fleetUnits are the flows of the fleet's tests: six units of test_basic.
var fleetUnits = []string{
	"test_basic::TestVmSetup", "test_basic::TestVmWorkload::test_store",
	"test_basic::TestVfDriverLoadRemove::test_load",
}

// A fleetLab is an engine of vmtb-fleet and kept labs. Each lab is a DUT with an agent beside it:
// the agent's vmtb is "vmtb lab exec".
type fleetLab struct {
	t    *testing.T
	dir  string // the labs' share
	port int
}

// TestFleet: two lab DUTs run the units of one submit. One DUT and its agent are killed in
// mid-flow, and the other DUT runs the unit. The merged report has both DUTs (check 17 of the
// fleet). Then shards, stored as engines store them, merge into a run with the plan and the counts
// of a run of all flows (check 13).
func TestFleet(t *testing.T) {
	if !full() {
		t.Skip("make lab-full: it boots two DUTs and runs 18 units")
	}
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fleetLab{t: t, dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	t.Cleanup(func() { f.vmtb("lab", "stop", "--all") })
	f.background("serve", "serve", "--dir="+f.path("state"), "--listen="+f.address(), "--url=tls://"+f.address())
	f.wait("the engine", func() bool { _, code := f.fleet("duts"); return code == 0 })
	agents := map[string]*exec.Cmd{}
	for _, dut := range []string{"one", "two"} {
		f.must(f.vmtb("lab", "start", dut, "--share", f.dir))
		f.must(f.fleet("enroll", dut, "-o", f.path(dut+".key")))
		agents[dut] = f.background(dut, "agent", "--key="+f.path(dut+".key"), "--spool="+f.path(dut+"-spool"),
			"--vmtb", fmt.Sprintf("%s lab exec --lab=%s -- vmtb", os.Getenv("VMTB"), dut))
	}
	t.Run("a DUT dies", func(t *testing.T) { f.testDies(t, agents["one"]) })
	t.Run("shards", f.testShards)
}

// testDies submits the flows, and kills DUT one, with its agent, while a flow runs there.
func (f *fleetLab) testDies(t *testing.T, agent *exec.Cmd) {
	submit := []string{
		"submit", "--vmtb", os.Getenv("VMTB"), "--id=r1", "--lost-after=30s", "--need=lab=yes gpu=ptl vfs>=2",
	}
	f.must(f.fleet(append(submit, fleetUnits...)...))
	f.wait("QEMU with a VF in DUT one", func() bool {
		_, code := f.vmtb("lab", "exec", "--lab=one", "--", "sh", "-c", hasVF)
		return code == 0
	})
	_ = syscall.Kill(f.qemu("one"), syscall.SIGKILL)
	_ = syscall.Kill(-agent.Process.Pid, syscall.SIGKILL) // it runs on the DUT, if that is a real one
	watched, code := f.fleet("watch", "r1")
	t.Logf("watch: %d\n%s", code, watched)
	if code != flow.ExitPass {
		t.Errorf("watch: %d", code)
	}
	fetch := []string{"fetch", "r1", "-o", f.path("fetched"), "--report=html", "--vmtb", os.Getenv("VMTB")}
	f.must(f.fleet(fetch...))
	run, err := flow.OpenRun(f.path("fetched"))
	if err != nil {
		t.Fatal(err)
	}
	on, attempts := map[string]int{}, 0
	counted := map[flow.ID]flow.Result{}
	for _, e := range run.Entries {
		if e.Phase == flow.PhaseCase && e.Event == flow.End {
			on[e.DUT]++
			counted[e.ID] = e.Result
			attempts = max(attempts, e.Attempt)
		}
	}
	for id, r := range counted {
		if r != flow.Pass {
			t.Errorf("%s: %s", id, r)
		}
	}
	if len(counted) != len(run.Info.Plan) || on["one"] == 0 || on["two"] == 0 || attempts != 2 {
		t.Errorf("%d of %d flows; by DUT %v; up to %d attempts", len(counted), len(run.Info.Plan), on, attempts)
	}
	const missing = "Participating DUTs 1 of 2; missing: one (its journal ends in "
	if p := run.Info.Participants(); !strings.HasPrefix(p, missing) {
		t.Error(p)
	}
	page, err := os.ReadFile(f.path("fetched/html/index.html"))
	if err != nil || !bytes.Contains(page, []byte("Participating DUTs 1 of 2")) {
		t.Errorf("the page does not have the DUTs: %v", err)
	}
}

// testShards runs all flows in one run, then in three shards, on DUT two.
func (f *fleetLab) testShards(t *testing.T) {
	run := func(dir string, more ...string) {
		args := append([]string{"lab", "exec", "--lab=two", "--", "vmtb", "run", "--run-dir=" + f.path(dir)}, more...)
		f.must(f.vmtb(append(args, fleetUnits...)...))
	}
	run("whole")
	var shards []string
	for i := 1; i <= 3; i++ {
		shards = append(shards, f.path(fmt.Sprintf("lava/job-%d/vmtb-run", i)))
		run(fmt.Sprintf("lava/job-%d/vmtb-run", i), fmt.Sprintf("--shard=%d/3", i))
	}
	f.must(f.vmtb(append([]string{"merge", "-o", f.path("all")}, shards...)...))
	want, got := results(t, f.path("whole")), results(t, f.path("all"))
	if len(want) < 6 || !maps.Equal(got, want) {
		t.Errorf("merged: %v\nwhole: %v", got, want)
	}
	if want, got := tools(t, f.path("whole")), tools(t, f.path("all")); !slices.Equal(got, want) {
		t.Errorf("results.json has the keys %q; want %q", got, want)
	}
}

// tools returns the keys of a run's results.json.
func tools(t *testing.T, dir string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]json.RawMessage
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(v))
}

func (f *fleetLab) path(name string) string { return filepath.Join(f.dir, name) }
func (f *fleetLab) address() string         { return fmt.Sprintf("127.0.0.1:%d", f.port) }

func (f *fleetLab) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "VMTB_STATE_DIR="+f.path("here"), "VMTB_FLEET_KEY="+f.path("state/admin.key"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// call runs a program to its end and returns its output.
func (f *fleetLab) call(program string, args ...string) (out string, code int) {
	cmd := f.command(program, args...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		f.t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func (f *fleetLab) vmtb(args ...string) (out string, code int) {
	return f.call(os.Getenv("VMTB"), args...)
}

func (f *fleetLab) fleet(args ...string) (out string, code int) {
	return f.call(os.Getenv("VMTB_FLEET"), args...)
}

// must fails the test if a program has not ended with 0.
func (f *fleetLab) must(out string, code int) {
	f.t.Helper()
	if code != 0 {
		f.t.Fatalf("exit code %d: %s", code, out)
	}
}

// background starts a command of vmtb-fleet. It ends with the test.
func (f *fleetLab) background(log string, args ...string) *exec.Cmd {
	f.t.Helper()
	cmd := f.command(os.Getenv("VMTB_FLEET"), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		f.t.Logf("%s:\n%s", log, out.String())
	})
	return cmd
}

// wait polls a condition, because no event reports it.
func (f *fleetLab) wait(what string, so func() bool) {
	f.t.Helper()
	for end := time.Now().Add(10 * time.Minute); !so(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("not so within 10 minutes: %s", what)
		}
	}
}

// qemu returns the pid of a lab's QEMU.
func (f *fleetLab) qemu(name string) int {
	f.t.Helper()
	cmd := f.command(os.Getenv("VMTB"), "lab", "list", "--json")
	out, err := cmd.Output()
	var labs []struct {
		Name string `json:"name"`
		QEMU int    `json:"qemu_pid"`
	}
	if err == nil {
		err = json.Unmarshal(out, &labs)
	}
	for _, l := range labs {
		if l.Name == name && l.QEMU > 0 {
			return l.QEMU
		}
	}
	f.t.Fatalf("no QEMU of lab %s: %v, %s", name, err, out)
	return 0
}
