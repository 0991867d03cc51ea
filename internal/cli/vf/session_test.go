package vf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	hostcmd "vmtb/internal/cli/host"
	"vmtb/internal/cli/output"
	"vmtb/internal/fake/fakeenv"
	"vmtb/internal/fake/fakefiles"
	"vmtb/internal/fake/fakehost"
	"vmtb/internal/pick"
)

// A vfTest is a vmtb on a fake host, with the host's first state.
type vfTest struct {
	*env.Env
	*fakehost.Host
	config *bench.Config
	first  fakehost.Snapshot
	out    *bytes.Buffer
	said   *bytes.Buffer
}

func newTest(t *testing.T, o fakehost.Options) *vfTest {
	return testOn(t, fakeenv.Shm(t), fakehost.New(o))
}

func testOn(t *testing.T, dir string, h *fakehost.Host) *vfTest {
	t.Helper()
	e, out, said := fakeenv.New(dir, h)
	return &vfTest{e, h, bench.DefaultConfig(), h.Snapshot(), out, said}
}

// sized returns the amount n, as if a user had given it for a flag.
func sized(n uint64) amount { return amount{n: &n} }

func (b *vfTest) enable(n int, change ...func(*enableOptions)) func(context.Context) error {
	o := enableOptions{config: b.config, n: n, profile: profileAuto, mode: vgpu.Infinite, bind: bindVFIO}
	for _, c := range change {
		c(&o)
	}
	return func(ctx context.Context) error { return o.run(ctx, b.Env) }
}

func (b *vfTest) provision(vf string, change func(*provisionOptions)) func(context.Context) error {
	name, err := pick.ParseVF(vf)
	o := provisionOptions{config: b.config, vf: name}
	change(&o)
	return func(ctx context.Context) error { return errors.Join(err, o.run(ctx, b.Env)) }
}

func (b *vfTest) bind(vf, driver string) func(context.Context) error {
	name, err := pick.ParseOneVF(vf)
	return func(ctx context.Context) error {
		return errors.Join(err, (&bindOptions{b.config, name, driver}).run(ctx, b.Env))
	}
}

func (b *vfTest) reset(vf string) func(context.Context) error {
	name, err := pick.ParseOneVF(vf)
	return func(ctx context.Context) error {
		return errors.Join(err, (&resetOptions{b.config, name}).run(ctx, b.Env))
	}
}

func (b *vfTest) disable(ctx context.Context) error {
	return (&disableOptions{b.config.Host}).run(ctx, b.Env)
}

func (b *vfTest) recoverAll(ctx context.Context) error {
	return (&hostcmd.RecoverOptions{}).Run(ctx, b.Env, nil)
}

func must(t *testing.T, what string, do ...func(context.Context) error) {
	t.Helper()
	for i, f := range do {
		if err := f(t.Context()); err != nil {
			t.Fatalf("%s, command %d: %v", what, i+1, err)
		}
	}
}

// asFirst checks that the host is in its first state, and that nothing is left to undo.
func (b *vfTest) asFirst(t *testing.T, what string) {
	t.Helper()
	if now := b.Snapshot(); now != b.first {
		t.Errorf("%s: the host is not restored: %s", what, cmp.Diff(b.FromSnapshot(b.first).Dump(), b.Dump()))
	}
	if dead, err := b.State.DeadRuns(b.Err); err != nil || len(dead) > 0 {
		t.Errorf("%s: left %v, %v", what, dead, err)
	}
}

// listing returns the JSON that "vmtb vf list" prints.
func (b *vfTest) listing(t *testing.T) output.GPU {
	t.Helper()
	var out bytes.Buffer
	o := listOptions{b.config.Host, true}
	if err := o.run(&env.Env{Out: &out, System: b.System}); err != nil {
		t.Fatal(err)
	}
	l := output.GPU{Summary: &xe.Summary{}}
	if err := json.Unmarshal(out.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// After all manual commands in a row, disable restores the host, and so does recover.
func TestSession(t *testing.T) {
	fit := func(o *enableOptions) { o.profile, o.mode = profileFit, vgpu.DefaultProfile }
	named := func(o *enableOptions) { o.profile, o.mode = "Bmg_4", vgpu.Infinite; o.slice.quantum = sized(7) }
	keep := func(o *enableOptions) { o.profile, o.bind = profileKeep, bindNone; o.slice.timeout = sized(9000) }
	scheduled := func(o *enableOptions) { o.mode, o.bind = vgpu.Flexible30FPS, "vfio-pci" }
	quotas := func(o *provisionOptions) {
		o.ggtt, o.vram, o.contexts, o.doorbells = sized(64<<20), sized(512<<20), sized(1024), sized(8)
	}
	slice := func(o *provisionOptions) { o.slice.quantum = sized(12) }
	priority := func(o *provisionOptions) { o.priority = "normal" }
	for name, commands := range map[string]func(b *vfTest) []func(context.Context) error{
		"enable": func(b *vfTest) []func(context.Context) error {
			return []func(context.Context) error{b.enable(2)}
		},
		"all of them": func(b *vfTest) []func(context.Context) error {
			return []func(context.Context) error{
				b.enable(3, fit), b.provision("VF1", quotas), b.provision("all", slice), b.provision("all", priority),
				b.reset("2"),
				b.bind("0000:03:00.2", "vfio-pci"), b.bind("2", "none"), b.bind("3", "xe"), b.bind("2", "xe-vfio-pci"),
				b.provision("2", quotas),
			}
		},
		"provisioned first": func(b *vfTest) []func(context.Context) error {
			return []func(context.Context) error{
				b.enable(1, scheduled), b.disable, b.enable(1), b.disable, // the driver is not loaded at first
				b.enable(1, named), b.bind("1", "none"),
			}
		},
		"named": func(b *vfTest) []func(context.Context) error {
			return []func(context.Context) error{b.enable(2, named)}
		},
		"scheduled": func(b *vfTest) []func(context.Context) error {
			return []func(context.Context) error{b.enable(2, scheduled), b.provision("all", slice)}
		},
	} {
		for layout, flat := range map[string]bool{"": false, ", flat": true} {
			for end, putBack := range map[string]func(*vfTest) func(context.Context) error{
				"disable": func(b *vfTest) func(context.Context) error { return b.disable },
				"recover": func(b *vfTest) func(context.Context) error { return b.recoverAll },
			} {
				t.Run(name+layout+", "+end, func(t *testing.T) {
					o := fakehost.BMG()
					o.Flat = flat
					b := newTest(t, o)
					must(t, name, commands(b)...)
					defer func() {
						if t.Failed() {
							t.Logf("said: %s", b.said)
						}
					}()
					if b.Snapshot() == b.first {
						t.Error("nothing has changed")
					}
					must(t, end, putBack(b))
					b.asFirst(t, end)
				})
			}
		}
	}
	t.Run("loaded and provisioned before", func(t *testing.T) {
		o := fakehost.BMG()
		o.Loaded = []string{"xe"}
		b := newTest(t, o)
		must(
			t, "keep", b.provision("1", quotas), b.provision("2", quotas), b.provision("2", slice), b.enable(2, keep),
			b.provision("1", slice),
		)
		l := b.listing(t)
		want := vgpu.Resources{GGTT: 64 << 20, VRAM: 512 << 20, Contexts: 1024, Doorbells: 8}
		if q := l.Functions[2].Quota; len(l.Functions) != 3 || *q != want {
			t.Errorf("quotas are not those that were set: %+v", q)
		}
		if s := *l.Functions[2].TimeSlice; s != (vgpu.TimeSlice{Quantum: 12, Timeout: 9000}) ||
			l.Functions[2].Driver != "" {
			t.Errorf("time slice %v, driver %q", s, l.Functions[2].Driver)
		}
		must(t, "disable", b.disable)
		b.asFirst(t, "disable")
		b.out.Reset()
		must(t, "again", b.disable)
		if !strings.Contains(b.out.String(), "No VFs are enabled.") {
			t.Errorf("the second disable says %q", b.out)
		}
	})
}

// journalFiles returns the journal of manual changes, and the note of it.
func journalFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, pattern := range []string{"manual/*", "runs/*"} {
		list, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range list {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(dir, path)
			files[rel] = data
		}
	}
	return files
}

// If any write fails, a command leaves the host as it found it. If a command is killed at any
// moment, disable restores the host.
func TestSessionFails(t *testing.T) {
	dir := fakeenv.Shm(t)
	fit := func(o *enableOptions) { o.profile, o.mode = profileFit, vgpu.DefaultProfile }
	for n := 1; ; n++ {
		b := testOn(t, filepath.Join(dir, "a"), fakehost.New(fakehost.BMG()))
		var killed fakehost.Snapshot
		var files map[string][]byte
		writes := 0
		b.Hook = func(_, _ string, done bool) error {
			if !done {
				return nil
			}
			if writes++; writes == n {
				killed, files = b.Snapshot(), journalFiles(t, filepath.Join(dir, "a"))
				return syscall.EIO
			}
			return nil
		}
		err := b.enable(2, fit)(t.Context())
		b.Hook = nil
		if err == nil {
			must(t, "disable", b.disable)
		}
		b.asFirst(t, "after a failure")
		if killed == "" {
			if n < 30 {
				t.Errorf("only %d writes", n)
			}
			break
		}
		if err == nil {
			t.Errorf("write %d failed, and the command did not", n)
		}
		crashed := testOn(t, filepath.Join(dir, "b"), b.FromSnapshot(killed))
		for name, data := range files {
			path := filepath.Join(dir, "b", name)
			data = bytes.ReplaceAll(data, []byte(dir+"/a"), []byte(dir+"/b"))
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		must(t, "disable after a kill", crashed.disable)
		crashed.first = b.first
		crashed.asFirst(t, "disable after a kill")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// If a failed command cannot be undone, it reports this and keeps the journal's entry. Disable
// tries again.
func TestSessionStuck(t *testing.T) {
	b := newTest(t, fakehost.BMG())
	stuck := true
	b.Hook = func(path, value string, done bool) error {
		if stuck && !done && (strings.HasSuffix(path, "driver_override") && value != "\n" ||
			strings.HasSuffix(path, "sriov_numvfs") && value == "0") {
			return syscall.EIO
		}
		return nil
	}
	if err := b.enable(1)(t.Context()); !errors.Is(err, env.ExitCode(flow.ExitNotRestored)) {
		t.Errorf("enable: %v", err)
	}
	for _, want := range []string{
		"write xe-vfio-pci to", "NOT undone: /sys/bus/pci/devices/0000:03:00.0/sriov_numvfs",
		"\"vmtb vf disable\" tries again",
	} {
		if !strings.Contains(b.said.String(), want) {
			t.Errorf("said %q, want %q", b.said, want)
		}
	}
	stuck = false
	must(t, "disable", b.disable)
	b.asFirst(t, "disable")
}

// Recover with --forget drops a change that cannot be undone, and the next command starts with an
// empty journal.
func TestSessionForget(t *testing.T) {
	b := newTest(t, fakehost.BMG())
	must(t, "enable", b.enable(1))
	b.Hook = func(path, _ string, done bool) error {
		if !done && strings.HasSuffix(path, "sriov_drivers_autoprobe") {
			return syscall.EIO
		}
		return nil
	}
	if err := (&hostcmd.RecoverOptions{Forget: true}).Run(t.Context(), b.Env, nil); err != nil {
		t.Fatal(err)
	}
	b.Hook = nil
	if dead, err := b.State.DeadRuns(b.Err); err != nil || len(dead) > 0 {
		t.Errorf("left %v, %v", dead, err)
	}
	b.first = b.Snapshot() // includes the change that was not undone
	must(t, "another time", b.enable(2), b.disable)
	b.asFirst(t, "another time")
}

// An interrupted command undoes its changes.
func TestSessionInterrupted(t *testing.T) {
	b := newTest(t, fakehost.BMG())
	ctx, cancel := context.WithCancel(t.Context())
	b.Hook = func(path, _ string, done bool) error {
		if done && strings.HasSuffix(path, "sriov_numvfs") {
			cancel()
		}
		return nil
	}
	if err := b.enable(2)(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("enable: %v", err)
	}
	b.asFirst(t, "interrupted")
}

// A VF that a virtual machine uses is not changed.
func TestSessionInUse(t *testing.T) {
	b := newTest(t, fakehost.BMG())
	must(t, "enable", b.enable(2))
	qemu := fakefiles.StartQEMU(t, b.Host, "/dev/vfio/12", "-name", "vm7", "-device", "vfio-pci,host=0000:03:00.2")
	quota := func(o *provisionOptions) { o.doorbells = sized(4) }
	before := b.Snapshot()
	for name, do := range map[string]func(context.Context) error{
		"reset": b.reset("2"), "bind": b.bind("2", "none"), "provision": b.provision("2", quota), "disable": b.disable,
		"recover": b.recoverAll,
	} {
		err := do(t.Context())
		if err == nil || !strings.Contains(err.Error(), "change 0000:03:00.2: the VF is in use by vm7 (pid 4711)") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b.Snapshot() != before {
		t.Error("a refused command has changed something")
	}
	l := b.listing(t)
	if u := l.Functions[2].UsedBy; u == nil || *u != (pick.VFUser{VM: "vm7", Program: "qemu-system-x86", PID: 4711}) ||
		l.Functions[1].UsedBy != nil {
		t.Errorf("used by %v", u)
	}
	must(t, "the other one", b.reset("1"), b.provision("1", quota), b.bind("1", "vfio-pci"))
	if err := b.Kill(t.Context(), qemu); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove("/proc/4711/cmdline"); err != nil {
		t.Fatal(err)
	}
	must(t, "disable", b.disable)
	b.asFirst(t, "disable")
}

// VFs that were enabled without vmtb can be disabled. Other commands on them make only changes that
// can be undone.
func TestOthersVFs(t *testing.T) {
	o := fakehost.BMG()
	o.Loaded = []string{"xe", "vfio_pci"}
	b := newTest(t, o)
	if err := b.WriteFile("/sys/bus/pci/devices/0000:03:00.0/sriov_drivers_autoprobe", []byte("0")); err != nil {
		t.Fatal(err)
	}
	b.first = b.Snapshot()
	if err := b.WriteFile("/sys/bus/pci/devices/0000:03:00.0/sriov_numvfs", []byte("2")); err != nil {
		t.Fatal(err)
	}
	theirs := b.Snapshot()
	for name, c := range map[string]struct {
		do   func(context.Context) error
		says string
	}{
		"enable": {
			b.enable(1),
			`2 are enabled already: device or resource busy ("vmtb vf list" shows them, "vmtb vf disable" ` +
				`disables them)`,
		},
		"provision": {
			b.provision("1", func(o *provisionOptions) { o.doorbells = sized(4) }), "another program has enabled 2 VFs",
		},
		"unknown VF": {b.reset("3"), "VF3: there is no such VF, 2 are enabled (vmtb vf list shows them"},
		"no VF":      {b.reset("7"), "VF 7: card1 (0000:03:00.0) has VFs 1 to 6"},
		"address":    {b.bind("0000:03:00.3", "xe"), "0000:03:00.3: there is no such VF, 2 are enabled"},
		"no driver":  {b.bind("1", "xe-vfio-pci"), "bound driver: not seen within"},
	} {
		if name == "no driver" {
			b.NeverBind = true
		}
		ctx, cancel := context.WithCancel(t.Context())
		if name == "no driver" {
			cancel() // the wait for the driver ends
			c.says = "context canceled"
		}
		if err := c.do(ctx); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		cancel()
		b.NeverBind = false
	}
	if b.Snapshot() != theirs {
		t.Errorf("refused, and changed: %s", cmp.Diff(b.FromSnapshot(theirs).Dump(), b.Dump()))
	}
	must(
		t, "bind", b.bind("1", "vfio-pci"),
		b.provision("all", func(o *provisionOptions) { o.slice.quantum = sized(3) }),
	)
	must(t, "recover", b.recoverAll)
	if b.Snapshot() != theirs {
		t.Errorf("not unchanged: %s", cmp.Diff(b.FromSnapshot(theirs).Dump(), b.Dump()))
	}
	must(t, "disable", b.bind("1", "vfio-pci"), b.disable)
	b.asFirst(t, "disable")
	if !strings.Contains(b.said.String(), "disable 2 VFs of 0000:03:00.0 that another program has enabled") {
		t.Errorf("said %q", b.said)
	}
}

// A request that the PF cannot fulfil is refused before any change, and so is a request without a
// PF.
func TestEnableRefused(t *testing.T) {
	without := fakehost.BMG()
	without.Modules = nil
	noIOMMU := fakehost.BMG()
	noIOMMU.NoIOMMU = true
	for name, c := range map[string]struct {
		host fakehost.Options
		n    int
		with func(*enableOptions)
		says string
	}{
		"too many":  {fakehost.BMG(), 7, nil, "7 VFs: card1 (0000:03:00.0) allows 1 to 6"},
		"no driver": {without, 1, nil, "load module xe"},
		"no IOMMU":  {noIOMMU, 1, nil, "find an IOMMU"},
		"no profile": {
			fakehost.BMG(), 1, func(o *enableOptions) { o.profile = "Bmg_99" },
			`Bmg_g21_12 has no vGPU profile "Bmg_99" (there are `,
		},
		"too small": {
			fakehost.BMG(), 4, func(o *enableOptions) { o.profile = "Bmg_12" },
			"vGPU profile Bmg_12 is made for 1 VF, not for 4",
		},
		"other card": {
			fakehost.BMG(), 1, func(o *enableOptions) { nine := 9; o.config.Host.CardIndex = &nine },
			"card9 is not a GPU of the xe driver",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTest(t, c.host)
			change := func(o *enableOptions) {
				if c.with != nil {
					c.with(o)
				}
			}
			if err := b.enable(c.n, change)(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			b.asFirst(t, name)
		})
	}
}

// A run does not start while changes of "vmtb vf" exist, even with the right to recover. "vmtb vf"
// does not start on the leftovers of a run.
func TestSessionAndRuns(t *testing.T) {
	b := newTest(t, fakehost.BMG())
	must(t, "enable", b.enable(1))
	for _, mayRecover := range []bool{false, true} {
		err := b.CleanHost(t.Context(), mayRecover, "")
		text := fmt.Sprint(err)
		if !strings.Contains(text, `"vmtb vf" has enabled or changed VFs`) ||
			!strings.Contains(text, `("vmtb vf disable" restores the host)`) || strings.Contains(text, "died") {
			t.Errorf("a run begins: %v", err)
		}
	}
	otherBoot(t, filepath.Join(b.State.VFChanges, flow.UndoFile))
	if err := b.CleanHost(t.Context(), false, ""); err != nil {
		t.Errorf("a run after a reboot: %v", err)
	}
	rebooted := testOn(t, filepath.Dir(b.State.VFChanges), fakehost.New(fakehost.BMG()))
	must(t, "after a reboot", rebooted.enable(2), rebooted.disable)
	rebooted.asFirst(t, "after a reboot")

	dead := filepath.Join(t.TempDir(), flow.UndoFile)
	log, err := rebooted.State.OpenJournal(rebooted.System, dead)
	if err == nil {
		err = errors.Join(log.Do(t.Context(), undo.Path{Path: "/tmp/left"}, func() error { return nil }), log.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	err = rebooted.enable(1)(t.Context())
	text := fmt.Sprint(err)
	if !strings.Contains(text, `a run that died has left changes: `) ||
		!strings.Contains(text, `("vmtb recover" undoes it)`) {
		t.Errorf("enable after a dead run: %v", err)
	}
	unlock, err := host.Lock(rebooted.State.LockFile)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := rebooted.disable(t.Context()); err == nil || !strings.Contains(err.Error(), "another vmtb (pid ") {
		t.Errorf("disable while the host is locked: %v", err)
	}
}

// Leftovers that use the manually enabled VFs, such as a machine whose keeper died, are undone
// before the VFs.
func TestSessionLast(t *testing.T) {
	b := newTest(t, fakehost.BMG())
	must(t, "enable", b.enable(1))
	for range 8 { // notes are sorted by their hash
		log, err := b.State.OpenJournal(b.System, filepath.Join(t.TempDir(), flow.UndoFile))
		if err == nil {
			err = errors.Join(log.Add(undo.Path{Path: "/tmp/left"}), log.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	dead, err := b.State.DeadRuns(b.Err)
	if err != nil || len(dead) != 9 || !b.State.HasVFChanges(dead[8]) {
		t.Errorf("%v, %v: want what was done by hand last", dead, err)
	}
	must(t, "recover", b.recoverAll)
	b.asFirst(t, "recover")
}

// otherBoot changes a journal to an earlier boot of the host.
func otherBoot(t *testing.T, path string) {
	t.Helper()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(
			path, bytes.ReplaceAll(data, bytes.TrimSpace(boot), []byte("00000000-0000-0000-0000-000000000000")), 0o600,
		)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// If QEMU's open files are not readable, its arguments tell which VF it uses.
func TestUserOfOthersProcess(t *testing.T) {
	b := newTest(t, fakehost.BMG())
	must(t, "enable", b.enable(2))
	b.Start(undo.Process{PID: 99, Comm: "bash"})
	b.Start(undo.Process{PID: 98, Comm: "qemu-system-x86"})
	if err := b.Create(
		"/proc/98/cmdline",
		[]byte(
			"/usr/bin/qemu-system-x86_64\x00-name\x00guest=vm3\x00-device\x00"+
				"{\"driver\":\"vfio-pci\",\"host\":\"0000:03:00.1\"}\x00",
		),
	); err != nil {
		t.Fatal(err)
	}
	l := b.listing(t)
	if u := l.Functions[1].UsedBy; u == nil || *u != (pick.VFUser{VM: "vm3", Program: "qemu-system-x86_64", PID: 98}) ||
		l.Functions[2].UsedBy != nil {
		t.Errorf("used by %v and %v", u, l.Functions[2].UsedBy)
	}
}

func TestAmount(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "4096": 4096, "8K": 8 << 10, "512M": 512 << 20, "2g": 2 << 30, "1T": 1 << 40, "5MiB": 5 << 20,
	} {
		a := amount{size: true}
		if err := a.Set(text); err != nil || *a.n != want {
			t.Errorf("%s: %v, %v", text, a.n, err)
		}
	}
	for _, text := range []string{"", "M", "-1", "1.5G", "1E", "99999999999999999999", "18014398509481985K", "5MX"} {
		if err := (&amount{size: true}).Set(text); err == nil || !strings.Contains(err.Error(), "like 512M") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := (&amount{}).Set("5M"); err == nil || !strings.Contains(err.Error(), "whole number") {
		t.Errorf("5M: %v", err)
	}
}
