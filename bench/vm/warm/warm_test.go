package warm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/bench/vm/guard"
	"vmtb/internal/fake/fakeqemu"
)

func TestMain(m *testing.M) {
	if code, ran := guard.Run(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := fakeqemu.Play(os.Args); ran {
		os.Exit(code)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// A fixture is a store and the spec of a machine with a fake QEMU.
type fixture struct {
	*testing.T
	dir   string
	store Store
	spec  vm.Spec
	boots int // machines that booted to save a state
	warns []string
}

func newFixture(t *testing.T) *fixture {
	dir, err := os.MkdirTemp("", "warm") // short: it contains sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &fixture{T: t, dir: dir, store: Store{Dir: filepath.Join(dir, "store")}}
	f.spec = vm.Spec{
		Name: "vm0", QEMU: "/proc/self/exe", Accel: "kvm", Kernel: &vm.Kernel{Image: filepath.Join(dir, "kernel")},
		VFs:   []vm.VF{{Host: "0000:03:00.1", WindowMiB: 32}},
		Extra: []string{fakeqemu.Flag, "agent dir=" + dir},
	}
	f.write("kernel", "one")
	return f
}

func (f *fixture) write(name, text string) {
	f.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) options() Options {
	return Options{
		VM: vm.Options{SocketDir: filepath.Join(f.dir, "run"), WorkDir: f.dir, Scale: 0.1},
		Step: func(ctx context.Context, _ string, do func(context.Context) error) error {
			f.boots++
			return do(ctx)
		},
		Warn: func(text string) { f.warns = append(f.warns, text) },
	}.AndLoad("xe")
}

// start starts a machine. It reports whether the machine started warm, and how many machines booted
// for its state.
func (f *fixture) start(spec vm.Spec) (warm bool, boots int) {
	f.Helper()
	before := f.boots
	m, err := f.store.Start(f.Context(), spec, f.options())
	if err != nil {
		f.Fatal(err)
	}
	defer func() {
		if err := m.Close(context.Background()); err != nil {
			f.Error(err)
		}
	}()
	if err := m.WaitReady(f.Context()); err != nil {
		f.Error(err)
	}
	return m.Warm(), f.boots - before
}

func (f *fixture) expect(what string, spec vm.Spec, warm bool, boots int) {
	f.Helper()
	if isWarm, booted := f.start(spec); isWarm != warm || booted != boots {
		f.Errorf("%s: warm %t, %d boots; want %t, %d", what, isWarm, booted, warm, boots)
	}
}

// One boot serves all machines that look alike to their guests. A difference that the guest sees
// needs another boot; a difference that it does not see needs none.
func TestStart(t *testing.T) {
	f := newFixture(t)
	f.expect("the first", f.spec, true, 1)
	f.expect("the second", f.spec, true, 0)

	same := f.spec
	same.Name, same.SSH, same.NoReboot = "vm7", vm.SSH{}, true
	same.VFs = []vm.VF{{Host: "0000:03:00.2", WindowMiB: 32, EnableMigration: true, StateMiB: 5}}
	f.expect("one with another VF", same, true, 0)

	more := f.spec
	more.MemoryMiB = 512
	f.expect("one with more memory", more, true, 1)

	f.write("new", "two")
	if err := os.Rename(filepath.Join(f.dir, "new"), f.spec.Kernel.Image); err != nil {
		t.Fatal(err)
	}
	f.expect("one with another kernel", f.spec, true, 1)

	firmware := f.spec
	firmware.Firmware = vm.Firmware(filepath.Join(f.dir, "firmware"))
	for _, text := range []string{"one", "another"} {
		f.write("firmware", text)
		f.expect("one with firmware "+text, firmware, true, 1)
	}
	firmware.Firmware += "-gone"
	if _, err := f.store.Start(t.Context(), firmware, f.options()); !errors.As(err, new(*bench.UsageError)) {
		t.Errorf("without its firmware: %v", err)
	}

	direct := f.spec
	direct.Disks = []vm.Disk{{Image: "/dev/null", Format: "raw", Access: vm.Direct}}
	f.expect("one that changes its image", direct, false, 0)
	if Unfit(direct) == "" || len(f.warns) > 0 {
		t.Errorf("%q, %q", Unfit(direct), f.warns)
	}
}

// A damaged state is removed, and the machine boots.
func TestBrokenState(t *testing.T) {
	f := newFixture(t)
	f.expect("the first", f.spec, true, 1)
	states, err := filepath.Glob(filepath.Join(f.store.Dir, "booted-*", stateFile))
	if err != nil || len(states) != 1 {
		t.Fatalf("%q, %v", states, err)
	}
	if err := os.WriteFile(states[0], []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.expect("one with half a state", f.spec, false, 0)
	if said := strings.Join(f.warns, "\n"); !strings.Contains(said, "vm0 boots: it cannot continue") ||
		!strings.Contains(said, "half a state") {
		t.Errorf("it says %q", said)
	}
	f.expect("the next one", f.spec, true, 1)
}

// An incomplete state is made anew.
func TestPartOfState(t *testing.T) {
	f := newFixture(t)
	f.expect("the first", f.spec, true, 1)
	states, err := filepath.Glob(filepath.Join(f.store.Dir, "booted-*", stateFile))
	if err != nil || len(states) != 1 {
		t.Fatalf("%q, %v", states, err)
	}
	if err := os.Remove(states[0]); err != nil {
		t.Fatal(err)
	}
	f.expect("one without a state", f.spec, true, 1)
	if len(f.warns) > 0 {
		t.Errorf("it says %q", f.warns)
	}
}

// An interrupted boot leaves nothing, and the next start boots.
func TestInterrupted(t *testing.T) {
	f := newFixture(t)
	o, enough := f.options(), errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	o.Settle = func(ctx context.Context, _ *vm.VM) error {
		cancel(enough)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if _, err := f.store.Start(ctx, f.spec, o); !errors.Is(err, enough) {
		t.Errorf("%v, want %v", err, enough)
	}
	if left, _ := filepath.Glob(filepath.Join(f.store.Dir, "*-*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	f.expect("the next one", f.spec, true, 1)
}

// If a boot takes longer than Options.Boot, Start fails and its error names the deadline.
func TestBootLate(t *testing.T) {
	f := newFixture(t)
	o := f.options()
	o.Boot = time.Nanosecond
	if _, err := f.store.Start(t.Context(), f.spec, o); err == nil ||
		!strings.Contains(err.Error(), "not ready within") {
		t.Errorf("%v", err)
	}
}

// knowKVM makes the store know of a KVM that works, since a boot that before tells from this one.
func (f *fixture) knowKVM(before string) {
	f.Helper()
	now, err := presentKVM(f.spec)
	if err == nil {
		err = os.MkdirAll(f.store.Dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(f.store.Dir, kvmFile), []byte(before+now), 0o600)
	}
	if err != nil {
		f.Fatal(err)
	}
}

// TestAccel: once a store has recorded that KVM works, it does not probe again until a machine
// fails to start.
func TestAccel(t *testing.T) {
	f := newFixture(t)
	f.spec.Accel = ""
	got, err := f.store.accel(t.Context(), f.spec)
	if err != nil || got != "tcg" { // the fake runs no probe
		t.Fatalf("%q, %v, want tcg", got, err)
	}
	known := filepath.Join(f.store.Dir, kvmFile)
	if _, err := os.Stat(known); err == nil {
		t.Error("the store knows of a KVM that does not work")
	}
	f.knowKVM("")
	if got, err := f.store.accel(t.Context(), f.spec); err != nil || got != "kvm" {
		t.Errorf("%q, %v, want kvm", got, err)
	}
	f.knowKVM("another boot ")
	if got, err := f.store.accel(t.Context(), f.spec); err != nil || got != "tcg" {
		t.Errorf("after a boot of the host: %q, %v, want tcg", got, err)
	}
}

// TestForgetKVM: after a state that could not be made, KVM is probed again.
func TestForgetKVM(t *testing.T) {
	f := newFixture(t)
	f.spec.Accel = ""
	f.knowKVM("")
	failed := errors.New("no KVM")
	o := f.options()
	o.Step = func(context.Context, string, func(context.Context) error) error { return failed }
	if _, _, err := f.store.Prepare(t.Context(), f.spec, o); !errors.Is(err, failed) {
		t.Errorf("%v, want %v", err, failed)
	}
	if _, err := os.Stat(filepath.Join(f.store.Dir, kvmFile)); err == nil {
		t.Error("the store still knows of a KVM that works")
	}
}
