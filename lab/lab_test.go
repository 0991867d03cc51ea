//go:build lab

package lab_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/bench/vm/guard"
	"vmtb/bench/work"
	"vmtb/flow"
	"vmtb/imagebuild"
	"vmtb/internal/progress"
	"vmtb/lab"
	"vmtb/report/reporttest"
)

// These tests run in the emulated DUT. "make lab-test" builds vmtb and sets VMTB to its path. A DUT
// uses one CPU, so tests with separate DUTs run in parallel. Tests that measure the rate of work
// run first, and alone.

func TestMain(m *testing.M) {
	if code, ran := guard.Run(os.Args); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

const (
	boot1VF = "test_basic::TestVmSetup::test_vm_boot[1VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)]"
	boot2VF = "test_basic::TestVmSetup::test_vm_boot[2VF-(P:AUTO S:INFINITE)]"
)

// hasVF is a shell line that succeeds once a QEMU has a VF. The brackets prevent a match of the
// shell's own command line.
const hasVF = `pgrep -f 'vfio-pc[i],host='`

// A dut is one emulated machine for all tests. Leftovers of one test make the next one fail.
type dut struct {
	*lab.DUT
	dir string
	out io.Writer // output of the test
	n   int       // number of runs

	memory int // of a guest, in MiB
}

// start starts a DUT with support for saving and migrating VFs.
func start(t *testing.T) *dut {
	t.Helper()
	return startWith(t, lab.BuildOptions{Migration: true}, lab.Options{})
}

// startWith starts a DUT with these images and options.
func startWith(t *testing.T, build lab.BuildOptions, o lab.Options) *dut {
	t.Helper()
	program := cmp.Or(o.Program, os.Getenv("VMTB"))
	if program == "" {
		t.Fatal("VMTB does not name the vmtb to test; make lab-test does that")
	}
	ctx := t.Context()
	cache, err := imagebuild.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	p := progress.New(t.Output(), "lab", nil)
	images, err := lab.BuildImages(ctx, cache, build, p)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o.Images, o.Dir, o.Share, o.Program, o.Progress = images, filepath.Join(dir, "dut"), dir, program, p
	d, err := lab.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &dut{DUT: d, dir: dir, out: t.Output(), memory: lab.GuestMiB}
}

// run runs "vmtb run" in the DUT with args, a selection with optional flags, and returns the run
// directory.
func (d *dut) run(ctx context.Context, args ...string) (code int, dir string, err error) {
	dir = d.nextDir()
	code, err = d.runIn(ctx, dir, args...)
	return code, dir, err
}

func (d *dut) nextDir() string {
	d.n++
	return filepath.Join(d.dir, fmt.Sprint("run", d.n))
}

func (d *dut) runIn(ctx context.Context, dir string, args ...string) (code int, err error) {
	common := []string{
		"run", "-v", "--run-dir", dir, "--vm-image", lab.GuestImage, "--vm-memory", strconv.Itoa(d.memory),
		"--timeout-scale", "5",
	}
	return d.Vmtb(ctx, append(common, args...), d.out)
}

// runMoves is run for flows that save VFs. It runs them again if xe has lost the end of a VF's state:
// docs/kernels.md, "Faults of Linux".
func (d *dut) runMoves(ctx context.Context, t *testing.T, args ...string) (code int, dir string, err error) {
	t.Helper()
	for range 3 {
		code, dir, err = d.run(ctx, args...)
		if err != nil || code != flow.ExitFail || !endLost(t, dir) {
			break
		}
		t.Logf("%s: xe has written the trailer of a VF's state before its GGTT: the flows run again", dir)
	}
	return code, dir, err
}

// gucSilent are the first complaints of a driver whose GuC does not answer.
var gucSilent = regexp.MustCompile("TLB invalidation fence timeout|Schedule disable failed to respond")

// endLost reports whether all failed cases of a run failed because a VF got a state without its end.
func endLost(t *testing.T, dir string) bool {
	t.Helper()
	lost := false
	for _, e := range ended(t, dir) {
		if e.Result == flow.Pass || e.Result == flow.Skip {
			continue
		}
		if lost = showsLostEnd(t, filepath.Join(dir, e.Dir), lost); !lost {
			return false
		}
	}
	return lost
}

// showsLostEnd reports whether a machine of a case got a VF's state without its end. Then the guest's
// driver is not told to recover, and the GuC waits for it without end. If that was so in an earlier
// case, the end can still wait in the host's driver, which takes it for the beginning of the next
// state, and refuses that.
func showsLostEnd(t *testing.T, dir string, earlier bool) bool {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(logs, func(name string) bool {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) == "dmesg.txt" { // of the host
			return earlier && bytes.Contains(text, []byte("unprocessed migration data left in the ring"))
		}
		return gucSilent.Match(text) && !bytes.Contains(text, []byte("migration recovery"))
	})
}

// results returns the results of a run's cases, by id.
func results(t *testing.T, dir string) map[string]flow.Result {
	t.Helper()
	got := map[string]flow.Result{}
	for _, e := range ended(t, dir) {
		got[e.ID.String()] = e.Result
	}
	return got
}

// ended returns the entries of a run's cases that ended.
func ended(t *testing.T, dir string) []flow.Entry {
	t.Helper()
	run, err := flow.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(run.Entries, func(e flow.Entry) bool {
		return e.Phase != flow.PhaseCase || e.Event != flow.End
	})
}

// fault sets a property of the emulated GPU. lab/gpu/README.md lists the properties.
func (d *dut) fault(t *testing.T, property string, value any) {
	t.Helper()
	args := map[string]any{"path": "/machine/peripheral/" + lab.GPUDevice, "property": property, "value": value}
	if err := d.QMP().Execute(context.WithoutCancel(t.Context()), "qom-set", args, nil); err != nil {
		t.Fatal(err)
	}
}

func (d *dut) clean(t *testing.T) {
	t.Helper()
	left, err := d.Leftovers(t.Context())
	if err != nil || len(left) > 0 {
		t.Errorf("left over in the DUT: %q, %v", left, err)
	}
}

// full reports whether all tests run: make lab-full.
func full() bool { return os.Getenv("VMTB_LAB_FULL") != "" }

func TestLab(t *testing.T) {
	t.Parallel()
	d := start(t)
	t.Run("test_store", d.testStore)
	t.Run("vm_state", d.testState)
	t.Run("kill -9", d.testKilled)
	t.Run("after a dead run", d.testAfterDeadRun)
	t.Run("interrupt", d.testInterrupt)
	t.Run("full disk", d.testFullDisk)
	t.Run("doctor", d.testDoctor)
	t.Run("panic of the kernel", d.testKernelPanic)
}

// resultsRead reads results.json field by field, as tools for IGT's results do, and with our own
// reader of igt_runner's results.
func resultsRead(t *testing.T, dir string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	reporttest.Read(t, string(data)).Check(t)
	got, err := work.ParseIGT(data)
	if err != nil {
		t.Fatal(err)
	}
	const key = "vmtb@test_basic.py::TestVmWorkload::test_store[2VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)]"
	if len(got.Tests) != 1 || got.Tests[0].Name != key || got.Tests[0].Status != work.StatusPass ||
		got.Totals[work.StatusPass] != 1 {
		t.Errorf("results.json: %+v, want a pass of %s", got, key)
	}
}

// killInFlight starts a run, and kills its vmtb with SIGKILL as soon as a guest runs.
func (d *dut) killInFlight(t *testing.T) (dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	type end struct {
		dir string
		err error
	}
	ended := make(chan end, 1)
	go func() {
		_, dir, err := d.run(ctx, boot2VF)
		ended <- end{dir, err}
	}()
	d.wait(ctx, t, "QEMU with a VF", hasVF)
	d.must(ctx, t, `kill -9 $(cat /run/lock/vmtb.lock)`)
	e := <-ended
	if e.err == nil || !strings.Contains(e.err.Error(), "killed by signal 9") {
		t.Fatalf("the killed run ended with %v", e.err)
	}
	return e.dir
}

// wait polls a condition in the DUT, because no event reports it.
func (d *dut) wait(ctx context.Context, t *testing.T, what, condition string) {
	t.Helper()
	for {
		r, err := d.Exec(ctx, bench.Shell(condition))
		if err != nil {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		if r.OK() {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, ctx.Err())
		}
	}
}

// must runs a shell line in the DUT that must succeed, and returns its output.
func (d *dut) must(ctx context.Context, t *testing.T, line string) string {
	t.Helper()
	c := bench.Shell(line)
	r, err := d.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Stdout)
}

// The QEMUs of a killed vmtb end with it, and "vmtb recover" restores the host.
func (d *dut) testKilled(t *testing.T) {
	dead := d.killInFlight(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d.wait(ctx, t, "the guards to kill QEMU", `! pgrep qemu-system`)
	left, err := d.Leftovers(ctx)
	if err != nil || len(left) == 0 {
		t.Fatalf("a run killed in flight has left nothing to recover (%v): was it in flight?", err)
	}
	d.recover(t, dead)
}

func (d *dut) recover(t *testing.T, dead string) {
	t.Helper()
	var out bytes.Buffer
	if code, err := d.Vmtb(t.Context(), []string{"recover", dead}, &out); err != nil || code != flow.ExitPass {
		t.Fatalf("recover: exit code %d, %v\n%s", code, err, out.String())
	}
	d.clean(t)
}

// After a dead run, the next run is refused, unless --recover lets it restore the host.
func (d *dut) testAfterDeadRun(t *testing.T) {
	dead := d.killInFlight(t)
	if code, _, err := d.run(t.Context(), boot1VF); err != nil || code != flow.ExitError {
		t.Errorf("on a dirty host: exit code %d, %v; want %d", code, err, flow.ExitError)
	}
	code, dir, err := d.run(t.Context(), "--recover", "--warm", boot1VF)
	if err != nil || code != flow.ExitPass {
		t.Fatalf("exit code %d, %v", code, err)
	}
	if got := results(t, dir); got[boot1VF] != flow.Pass {
		t.Errorf("got %v", got)
	}
	d.clean(t)
	d.recover(t, dead) // there is nothing to recover
}

// An interrupted run tears down, reports the interrupt, and leaves nothing.
func (d *dut) testInterrupt(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	go func() {
		d.wait(ctx, t, "QEMU with a VF", hasVF)
		d.must(ctx, t, `kill -INT $(cat /run/lock/vmtb.lock)`)
	}()
	code, _, err := d.run(ctx, boot1VF)
	if err != nil || code != flow.ExitInterrupted {
		t.Errorf("exit code %d, %v; want %d", code, err, flow.ExitInterrupted)
	}
	d.clean(t)
}

// If the disk of the run directory is full, the run reports this and ends in order, and the DUT is
// clean.
func (d *dut) testFullDisk(t *testing.T) {
	const small = "/mnt/small"
	d.must(t.Context(), t, "mkdir -p "+small+" && mount -t tmpfs -o size=48k tmpfs "+small)
	defer d.must(t.Context(), t, "umount "+small)
	var out bytes.Buffer
	args := []string{
		"run", "--run-dir", small + "/run", "--vm-image", lab.GuestImage, "--vm-memory", strconv.Itoa(d.memory),
		"--timeout-scale", "5", "--warm", boot1VF,
	}
	code, err := d.Vmtb(t.Context(), args, io.MultiWriter(&out, d.out))
	if err != nil || code != flow.ExitAborted {
		t.Errorf("exit code %d, %v; want %d", code, err, flow.ExitAborted)
	}
	if !strings.Contains(out.String(), "no space left on device (is the disk full?)") {
		t.Errorf("the output does not say that the disk is full")
	}
	d.clean(t)
}

// If the DUT dies, the lab reports the failure with the DUT's console. The run's data up to then
// are on this machine.
func (d *dut) testKernelPanic(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	go func() {
		d.wait(ctx, t, "QEMU with a VF", hasVF)
		_, _ = d.Exec(ctx, bench.Shell("echo c >/proc/sysrq-trigger")) // no answer after a panic
	}()
	_, dir, err := d.run(ctx, boot1VF)
	if _, ok := errors.AsType[*bench.InfraError](err); !ok || !strings.Contains(err.Error(), "Kernel panic") {
		t.Errorf("got %v, want an infrastructure error with the console's panic", err)
	}
	run, err := flow.OpenRun(dir)
	if err != nil || len(run.Entries) == 0 {
		t.Errorf("the run directory of the dead DUT does not read: %v", err)
	}
}
