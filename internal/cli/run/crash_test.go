package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/pci"
	"vmtb/bench/undo"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	hostcmd "vmtb/internal/cli/host"
	"vmtb/internal/fake/fakeenv"
	"vmtb/internal/fake/fakehost"
)

// The crashes of these tests: a run is recorded once. At each of its moments, the tests keep the
// state that a crash would leave: the host, and the files of the run directory, down to
// half-written lines. Then they recover each moment, and resume each.

// A moment is the state that a crash leaves.
type moment struct {
	when string
	host fakehost.Snapshot
	run  map[string][]byte // content of the run directory's files, by name
}

// A vfs is the parameter of flows that provision a fake GPU and start a fake QEMU.
type vfs int

func (n vfs) String() string { return fmt.Sprintf("%dVF", int(n)) }

func registerCrashers(r *flow.Registry) {
	flow.Add(r, "test_crash", flow.Class[vfs, undo.Process]{
		Name: "TestCrash", Params: []vfs{1, 2}, Unprivileged: true,
		Fixture: flow.Fixture[vfs, undo.Process]{SetUp: setUpCrasher, TearDown: tearDownCrasher},
		Cases: []flow.Case[undo.Process]{
			{Name: "test_one", Func: func(context.Context, *flow.T, undo.Process) {}},
			{Name: "test_two", Func: func(context.Context, *flow.T, undo.Process) {}},
		},
	})
}

func setUpCrasher(ctx context.Context, env *flow.Env, n vfs) (qemu undo.Process, err error) {
	h, err := flow.Resource[*host.Host](env)
	if err != nil {
		return qemu, err
	}
	vfio, err := h.LoadDrivers(ctx, env, "xe")
	if err != nil {
		return qemu, err
	}
	pf, err := xe.FindPF(h.Tree(env), xe.Selector{})
	if err != nil {
		return qemu, err
	}
	plan := vgpu.Auto(int(n))
	plan.Scheduling = vgpu.Scheduling{VF: vgpu.TimeSlice{Quantum: 10}, ScheduleIfIdle: true}
	if err := pf.Provision(ctx, plan); err != nil {
		return qemu, err
	}
	enabled, err := pf.EnableVFs(ctx, int(n))
	if err != nil {
		return qemu, err
	}
	return startCrasher(ctx, env, h.System.(*fakehost.Host), enabled, vfio)
}

func startCrasher(
	ctx context.Context, env *flow.Env, fake *fakehost.Host, enabled []*pci.Device, vfio string,
) (qemu undo.Process, err error) {
	for _, vf := range enabled {
		if err := vf.Bind(ctx, vfio); err != nil {
			return qemu, err
		}
	}
	qemu = undo.Process{PID: 4711, StartTime: 99, Comm: "qemu-system-x86"}
	err = env.Do(ctx, qemu, func() error { // until the record is written, the guard of package bench/vm ends a QEMU
		env.Log.Info("about to start") // makes a moment
		fake.Start(qemu, enabled[0].VFIONodes()...)
		env.Log.Info("started") // makes another one
		return nil
	})
	if err != nil {
		return qemu, err
	}
	return qemu, env.Do(
		ctx, undo.Path{Path: "/tmp/overlay"}, func() error { return fake.Create("/tmp/overlay", []byte("disk")) },
	)
}

func tearDownCrasher(ctx context.Context, env *flow.Env, qemu undo.Process) error {
	h, err := flow.Resource[*host.Host](env)
	if err != nil {
		return err
	}
	return h.System.Kill(ctx, qemu)
}

// A crasher is a vmtb on a fake host, with the flows of these tests.
type crasher struct {
	*env.Env
	out, errs *bytes.Buffer
}

func newCrasher(dir string, h *fakehost.Host) *crasher {
	e, out, errs := fakeenv.New(dir, h)
	registerCrashers(e.Registry)
	return &crasher{e, out, errs}
}

func (c *crasher) printed() string { return c.out.String() + c.errs.String() }

// runFiles reads the files of a run directory that recover and resume need.
func runFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{"lock": nil}
	for _, name := range []string{"run.json", "journal.jsonl", "undo.jsonl"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err == nil {
			files[name] = data
		}
	}
	return files
}

// record runs the crasher's flows on h and returns the moments: before and after each change of the
// host, and after each line of the journals. A line is there in full, in half, or without its end.
func record(t *testing.T, h *fakehost.Host) []moment {
	t.Helper()
	base := fakeenv.Shm(t)
	dir := filepath.Join(base, "run")
	a := newCrasher(base, h)
	options, err := newFlowOptions(a.Env, dir, bench.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	var moments []moment
	before := map[string][]byte{}
	take := func(when string) {
		now := moment{when, h.Snapshot(), runFiles(t, dir)}
		for name, data := range now.run {
			moments = append(moments, torn(now, name, len(before[name]), len(data))...)
		}
		before = now.run
		moments = append(moments, now)
	}
	h.Hook = func(path, value string, done bool) error {
		take(fmt.Sprintf("%q to %s, done: %v", value, path, done))
		return nil
	}
	options.Observer = func(e flow.Entry) { take(fmt.Sprintf("%s %s %s", e.Event, e.Phase, e.ID)) }
	sum, err := flow.Run(t.Context(), a.Registry.Items(), options)
	if err != nil || sum.ExitCode() != flow.ExitPass {
		t.Fatalf("exit code %d, %v", sum.ExitCode(), err)
	}
	h.Hook = nil
	return moments
}

// torn returns the moments in which the new line of a file is partly written.
func torn(m moment, name string, from, to int) []moment {
	if from == 0 || from == to {
		return nil
	}
	var list []moment
	for _, cut := range []int{(from + to) / 2, to - 1} {
		files := maps.Clone(m.run)
		files[name] = files[name][:cut]
		list = append(list, moment{fmt.Sprintf("%s torn before %s", name, m.when), m.host, files})
	}
	return list
}

// TestCrashAnywhere kills a run at every moment, vmtb alone or the host with it. After recover, the
// host is as at first. After resume, so it is, and the run has every id once.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	o := fakehost.BMG()
	o.TotalVFs, o.GTs = 2, 1
	h := fakehost.New(o)
	first := h.Snapshot()
	moments := record(t, h)
	if h.Snapshot() != first {
		t.Fatal("the run itself does not restore the host")
	}
	t.Logf("%d moments", len(moments))
	if len(moments) < 200 {
		t.Errorf("only %d moments: the flows do less than they should", len(moments))
	}
	for _, m := range moments {
		for _, reboot := range []bool{false, true} {
			for _, resume := range []bool{false, true} {
				after(t, h, first, m, reboot, resume)
			}
		}
	}
}

// after recovers or resumes the run that the crash m has left.
func after(t *testing.T, h *fakehost.Host, first fakehost.Snapshot, m moment, reboot, resume bool) {
	t.Helper()
	base := fakeenv.Shm(t)
	dir := filepath.Join(base, "run")
	left := h.FromSnapshot(m.host)
	a := newCrasher(base, left)
	place(t, dir, m.run, reboot)
	if reboot {
		left.Reboot()
	}
	if err := a.State.Runs.Enter(filepath.Join(dir, flow.UndoFile)); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%s, reboot %v, resume %v", m.when, reboot, resume)
	if resume {
		resumed(t, a, dir, name)
	} else if err := (&hostcmd.RecoverOptions{}).Run(t.Context(), a.Env, nil); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, a.printed())
	}
	if left.Snapshot() != first {
		t.Fatalf(
			"%s: not as before (-want +got):\n%s\n%s", name, cmp.Diff(h.FromSnapshot(first).Dump(), left.Dump()),
			a.printed(),
		)
	}
	if notes, err := a.State.Runs.Notes(); err != nil || len(notes) != 0 {
		t.Fatalf("%s: still in mind: %v, %v", name, notes, err)
	}
	if err := (&hostcmd.RecoverOptions{}).Run(t.Context(), a.Env, []string{dir}); err != nil ||
		!strings.Contains(a.printed(), "Nothing to undo.") {
		t.Fatalf("%s: recovered again: %v\n%s", name, err, a.printed())
	}
}

// place writes a run directory. With reboot, its records belong to an earlier boot of the host.
func place(t *testing.T, dir string, files map[string][]byte, reboot bool) {
	t.Helper()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if reboot {
			data = bytes.ReplaceAll(data, bytes.TrimSpace(boot), []byte("00000000-0000-0000-0000-000000000000"))
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// resumed resumes the run and checks its result.
func resumed(t *testing.T, a *crasher, dir, name string) {
	t.Helper()
	err := (&resumeOptions{ReportFlags: flows.ReportFlags{Color: "never"}}).run(t.Context(), a.Env, dir)
	if code, ok := errors.AsType[env.ExitCode](err); err != nil && (!ok || code != flow.ExitError) {
		t.Fatalf("%s: %v\n%s", name, err, a.printed())
	}
	run, err := flow.OpenRun(dir)
	if err != nil || run.Torn {
		t.Fatalf("%s: %v", name, err)
	}
	results := map[string]flow.Result{}
	ends := map[string]int{}
	for _, e := range run.Entries {
		if e.Event == flow.End && e.Phase == flow.PhaseCase {
			results[e.ID.String()] = e.Result
			ends[e.ID.String()]++
		}
	}
	for id, r := range results {
		if r != flow.Pass && r != flow.Incomplete || ends[id] != 1 {
			t.Fatalf("%s: %s is %s after %d ends", name, id, r, ends[id])
		}
	}
	if len(results) != 4 {
		t.Fatalf("%s: results of %d cases, want 4", name, len(results))
	}
}
