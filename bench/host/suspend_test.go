package host_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/pci"
	"vmtb/bench/undo"
	"vmtb/internal/fake/fakehost"
)

// able returns a host that supports every sleep state.
func able() fakehost.Power {
	return fakehost.Power{
		State: "freeze mem disk", MemSleep: "[s2idle] deep", Disk: "[platform] shutdown", Resume: "8:2",
		Swaps: "Filename\tType\n/dev/sda2 partition",
	}
}

func sleeper(t *testing.T, change func(*fakehost.Power)) (*host.Host, *fakehost.Host, *undo.Log) {
	t.Helper()
	o := fakehost.BMG()
	o.Power = able()
	if change != nil {
		change(&o.Power)
	}
	return fake(t, o)
}

func TestCheckSuspend(t *testing.T) {
	for _, c := range []struct {
		mode   host.SleepMode
		change func(*fakehost.Power)
		says   string // "" for a host that can
	}{
		{host.SleepMem, nil, ""},
		{host.SleepDisk, nil, ""},
		{host.SleepFreeze, nil, ""},
		{host.SleepMem, func(p *fakehost.Power) { p.MemSleep = "" }, ""},
		{"standby", nil, "the modes are mem, disk and freeze"},
		{host.SleepFreeze, func(p *fakehost.Power) { p.State = "" }, "is empty"},
		{host.SleepMem, func(p *fakehost.Power) { p.State = "freeze" }, `/sys/power/state has only "freeze"`},
		{host.SleepMem, func(p *fakehost.Power) { p.MemSleep = "[s2idle]" }, "the firmware has no S3"},
		{host.SleepDisk, func(p *fakehost.Power) { p.State = "freeze mem" }, `/sys/power/state has only "freeze mem"`},
		{host.SleepDisk, func(p *fakehost.Power) { p.State, p.Disk = "freeze mem", "[disabled]" }, "lockdown"},
		{host.SleepDisk, func(p *fakehost.Power) { p.Swaps = "Filename\tType" }, "no swap"},
		{host.SleepDisk, func(p *fakehost.Power) { p.Resume = "0:0" }, "resume="},
		{host.SleepFreeze, func(p *fakehost.Power) { p.NoRTC = true }, "no clock can wake the machine"},
		{host.SleepFreeze, func(p *fakehost.Power) { p.NoRtcwake = true }, "rtcwake does not run"},
	} {
		h, _, log := sleeper(t, c.change)
		err := h.CheckSuspend(t.Context(), c.mode)
		switch _, isHost := errors.AsType[*bench.HostError](err); {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", c.mode, err)
		case c.says != "" &&
			(!isHost || !errors.Is(err, bench.ErrNotAvailable) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want one that is not available: %q", c.mode, err, c.says)
		}
		if c.says == "" {
			continue
		}
		if _, err := h.Suspend(t.Context(), log, host.Suspend{Mode: c.mode}); !errors.Is(err, bench.ErrNotAvailable) {
			t.Errorf("%s: Suspend: %v", c.mode, err)
		}
	}
}

func TestSuspend(t *testing.T) {
	for mode, want := range map[host.SleepMode]host.Slept{
		host.SleepMem:    {Clock: 7 * time.Second, Counted: 1},
		host.SleepDisk:   {Clock: 7 * time.Second},
		host.SleepFreeze: {Counted: 1},
	} {
		h, f, log := sleeper(t, nil)
		first := f.Snapshot()
		checked := false
		s := host.Suspend{
			Mode: mode, For: 7 * time.Second, Check: func(context.Context) error { checked = true; return nil },
		}
		slept, err := h.Suspend(t.Context(), log, s)
		if err != nil || slept != want || !checked {
			t.Errorf("%s: %+v, %v, checked %v; want %+v", mode, slept, err, checked, want)
		}
		const file = "/sys/power/mem_sleep"
		text, err := f.ReadFile(file)
		if want := map[bool]string{true: "s2idle [deep]\n", false: "[s2idle] deep\n"}[mode == host.SleepMem]; string(
			text,
		) != want || err != nil {
			t.Errorf("%s: mem_sleep is %q, %v", mode, text, err)
		}
		if err := log.Undo(t.Context(), f); err != nil {
			t.Error(err)
		}
		if now, old := f.Dump()[file], f.FromSnapshot(first).Dump()[file]; now != old {
			t.Errorf("%s: mem_sleep is %q after the undo, was %q", mode, now, old)
		}
	}
}

func TestSuspendFails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fakehost.Power)
		says   string
		is     error
	}{
		"refused": {
			func(p *fakehost.Power) { p.Fails = "Device or resource busy" },
			"write error: Device or resource busy; /sys/power/suspend_stats/ has last_failed_dev 0000:03:00.0", nil,
		},
		"did not sleep": {
			func(p *fakehost.Power) { p.Awake = true }, "suspend mem: the host did not sleep", host.ErrDidNotSleep,
		},
	} {
		h, _, log := sleeper(t, c.change)
		_, err := h.Suspend(t.Context(), log, host.Suspend{Mode: host.SleepMem})
		if _, ok := errors.AsType[*bench.HostError](err); !ok || !strings.Contains(err.Error(), c.says) ||
			c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	h, _, log := sleeper(t, nil)
	_, err := h.Suspend(t.Context(), log, host.Suspend{Mode: host.SleepMem, For: time.Millisecond})
	if !errors.As(err, new(*bench.UsageError)) ||
		!strings.Contains(err.Error(), "suspend for 0 s: want 1 s or more") {
		t.Errorf("too short: %v", err)
	}
	lost := errors.New("vm0 is gone")
	if _, err := h.Suspend(t.Context(), log, host.Suspend{
		Mode: host.SleepMem, Check: func(context.Context) error { return lost },
	}); !errors.Is(err, lost) {
		t.Errorf("check that fails: %v", err)
	}
}

// A hung rtcwake does not block the caller for ever.
func TestSuspendHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	h, _, log := sleeper(t, func(p *fakehost.Power) { p.Wake = func() { <-release } })
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	if _, err := h.Suspend(ctx, log, host.Suspend{Mode: host.SleepFreeze}); !errors.Is(err, cause) {
		t.Errorf("%v, want %v", err, cause)
	}
	limited := host.Suspend{Mode: host.SleepFreeze, For: time.Second, Timeout: 50 * time.Millisecond}
	if _, err := h.Suspend(t.Context(), log, limited); err == nil ||
		!strings.Contains(err.Error(), "the host did not wake within 1.05 s") {
		t.Errorf("at its deadline: %v", err)
	}
}

// The error names VFs that are gone or have another driver after the sleep.
func TestSuspendLosesVFs(t *testing.T) {
	const pf = "/sys/bus/pci/devices/0000:03:00.0"
	write := func(f *fakehost.Host, path, value string) {
		t.Helper()
		if err := f.WriteFile(path, []byte(value)); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		wake func(f *fakehost.Host)
		says []string
	}{
		"as before": {func(*fakehost.Host) {}, nil},
		"unbound": {
			func(f *fakehost.Host) { write(f, "/sys/bus/pci/drivers/xe-vfio-pci/unbind", "0000:03:00.1") },
			[]string{`0000:03:00.1 has driver "", had "xe-vfio-pci"`},
		},
		"gone": {
			func(f *fakehost.Host) { write(f, pf+"/sriov_numvfs", "0") },
			[]string{"0000:03:00.1 is missing", "0000:03:00.2 is missing"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := fakehost.BMG()
			o.Power = able()
			var f *fakehost.Host
			o.Power.Wake = func() { c.wake(f) }
			h, f2, log := fake(t, o)
			f = f2
			if _, err := h.LoadDrivers(t.Context(), log, "xe"); err != nil {
				t.Fatal(err)
			}
			d := pci.At(h.Tree(log), "0000:03:00.0")
			if err := errors.Join(d.SetAutoprobe(t.Context(), false), d.EnableVFs(t.Context(), 2)); err != nil {
				t.Fatal(err)
			}
			vf, err := d.VF(1)
			if err == nil {
				err = vf.Bind(t.Context(), "xe-vfio-pci")
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = h.Suspend(t.Context(), log, host.Suspend{Mode: host.SleepMem, PFs: []*pci.Device{d}})
			if (err == nil) != (len(c.says) == 0) {
				t.Errorf("%v", err)
			}
			for _, says := range c.says {
				if _, ok := errors.AsType[*bench.HostError](err); !ok || !strings.Contains(err.Error(), says) {
					t.Errorf("%v, want %q", err, says)
				}
			}
		})
	}
	b := host.Bindings{{Function: "0000:03:00.0", Driver: "xe"}}
	if err := b.Same(nil); err == nil || !strings.Contains(err.Error(), "0000:03:00.0 is new") {
		t.Errorf("a function more: %v", err)
	}
}

// The real clocks can be read, and agree with the definition of CLOCK_BOOTTIME.
func TestSleptSinceBoot(t *testing.T) {
	slept, err := host.OS{}.SleptSinceBoot()
	if err != nil || slept < 0 {
		t.Errorf("%v, %v", slept, err)
	}
}
