package vm

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/internal/fake/fakeqga"
	"vmtb/internal/fake/fakeqmp"
	"vmtb/internal/procfs"
)

// sleeper returns the agent's commands that sleep needs. A word "path=content" of the fake is a
// file of the guest; in content, "_" stands for a space and "|" for a line end. Without such a word
// the file does not exist.
func (f *fake) sleeper() fakeqga.Commands {
	file := func(path string) (string, bool) {
		for _, w := range f.can {
			if text, ok := strings.CutPrefix(w, path+"="); ok {
				return strings.ReplaceAll(strings.ReplaceAll(text, "_", " "), "|", "\n") + "\n", true
			}
		}
		return "", path == procfs.BootIDFile
	}
	open, run := "", ""
	return fakeqga.Commands{
		"guest-info": func(json.RawMessage) (any, error) {
			allowed := map[string]any{
				"name": "guest-suspend-ram", "enabled": !f.does("forbidden"), "success-response": false,
			}
			return map[string]any{
				"version":            "10.0.2",
				"supported_commands": []any{allowed, map[string]any{"name": "guest-suspend-disk", "enabled": true}},
			}, nil
		},
		"guest-file-open": func(args json.RawMessage) (any, error) {
			var a struct{ Path string }
			_ = json.Unmarshal(args, &a)
			if _, ok := file(a.Path); !ok {
				return nil, fakeqmp.Failure{
					Class: "GenericError",
					Desc:  "failed to open file '" + a.Path + "' (mode: 'r'): No such file or directory",
				}
			}
			if a.Path == procfs.BootIDFile && f.woken && f.does("late") {
				f.woken = false
				f.qmp.Event("VSERPORT_CHANGE", map[string]any{"id": agentPort, "open": false})
				f.qmp.Event("VSERPORT_CHANGE", map[string]any{"id": agentPort, "open": true})
				return nil, fakeqmp.ErrSilence
			}
			open = a.Path
			return 1, nil
		},
		"guest-file-read": func(json.RawMessage) (any, error) {
			text, _ := file(open)
			return map[string]any{"count": len(text), "buf-b64": []byte(text), "eof": true}, nil
		},
		"guest-file-close": func(json.RawMessage) (any, error) { return struct{}{}, nil },
		"guest-exec": func(args json.RawMessage) (any, error) {
			run = string(args)
			return map[string]int{"pid": 1}, nil
		},
		"guest-exec-status": func(json.RawMessage) (any, error) {
			out, code := "static\n", 1
			if strings.Contains(run, "environ") {
				out, code = "PATH=/bin\x00", 0
			} else if f.does("masked") {
				out = "masked-runtime\n"
			}
			return map[string]any{"exited": true, "exitcode": code, "out-data": []byte(out)}, nil
		},
		"guest-suspend-ram": func(json.RawMessage) (any, error) {
			f.status = "suspended"
			f.qmp.Event("SUSPEND", nil)
			return nil, fakeqmp.ErrSilence
		},
	}
}

func TestWhySleepCannotBe(t *testing.T) {
	const states, deep = "/sys/power/state=freeze_mem_disk", "/sys/power/mem_sleep=s2idle_[deep]"
	for name, c := range map[string]struct{ can, want string }{
		"machine":      {states + " " + deep + " no-wakeup", "cannot be woken"},
		"agent":        {states + " " + deep + " forbidden", "forbids"},
		"kernel":       {"/sys/power/state=freeze " + deep, `no "mem"`},
		"no power":     {deep, `no "mem"`},
		"masked":       {states + " " + deep + " masked", "systemctl unmask suspend.target"},
		"firmware":     {states + " /sys/power/mem_sleep=[s2idle]", "no S3"},
		"other choice": {states + " /sys/power/mem_sleep=[s2idle]_deep", "write deep to it"},
	} {
		t.Run(name, func(t *testing.T) {
			m := bootFake(t, "sleeper "+c.can)
			err := m.Power().Suspend(t.Context())
			if !errors.Is(err, bench.ErrNotAvailable) || !errors.As(err, new(*bench.GuestError)) ||
				!strings.Contains(err.Error(), c.want) {
				t.Errorf("%T %v, want a GuestError that is ErrNotAvailable with %q", err, err, c.want)
			}
			if s, err := m.State(t.Context()); s != Running || err != nil {
				t.Errorf("%q, %v, want running", s, err)
			}
		})
	}
	for name, c := range map[string]struct{ can, want string }{
		"kernel":   {"/sys/power/state=freeze_mem", `no "disk"`},
		"disabled": {states + " /sys/power/disk=[disabled] /proc/swaps=Filename|/dev/vda", "disabled"},
		"no swap":  {states + " /sys/power/disk=[platform]_shutdown /proc/swaps=Filename", "no swap space"},
	} {
		t.Run("disk, "+name, func(t *testing.T) {
			err := bootFake(t, "sleeper "+c.can).Power().Hibernate(t.Context())
			if !errors.Is(err, bench.ErrNotAvailable) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%T %v, want ErrNotAvailable with %q", err, err, c.want)
			}
		})
	}
	m := bootFake(t, "sleeper "+states+" "+deep)
	must(t, m.Power().Suspend(t.Context()))
	if s, err := m.State(t.Context()); s != Suspended || err != nil {
		t.Errorf("%q, %v, want suspended", s, err)
	}
}

// Wake succeeds if QEMU reports late, after the agent's answer, that the sleep closed and opened
// the agent's port.
func TestWakePortLate(t *testing.T) {
	m := bootFake(t, "sleeper late /sys/power/state=freeze_mem_disk /sys/power/mem_sleep=s2idle_[deep]")
	must(t, m.Power().Suspend(t.Context()))
	must(t, m.Power().Wake(t.Context()))
	if open, _ := m.events.agentSeen(); !open {
		t.Error("awake, and nobody can ask the agent")
	}
}

// After its sleep, a guest may not know that the host has the agent's port open. Then vmtb opens
// the port anew.
func TestWakeUnheard(t *testing.T) {
	m := bootFake(t, "sleeper unheard /sys/power/state=freeze_mem_disk /sys/power/mem_sleep=s2idle_[deep]")
	for range 2 {
		must(t, m.guest.sync(t.Context()))
	}
	must(t, m.Power().Suspend(t.Context()))
	must(t, m.Power().Wake(t.Context()))
	if _, err := m.Agent().Info(t.Context()); err != nil {
		t.Error(err)
	}
}

// An order is sent before any sign of its effect is looked for.
func TestOrderUntil(t *testing.T) {
	m := bootFake(t, "agent")
	out := false
	begin := func(ctx context.Context, mode string) (*qga.Order, error) {
		out = true
		return m.guest.qga.BeginShutdown(ctx, mode)
	}
	err := orderUntil(t.Context(), begin, "reboot", func(context.Context) error {
		if !out {
			t.Error("it is not out")
		}
		return nil
	})
	must(t, err)
	refuse := func(context.Context, string) (*qga.Order, error) { return nil, errNoAgent }
	err = orderUntil(t.Context(), refuse, "reboot", func(context.Context) error {
		t.Error("waited for what was not asked for")
		return nil
	})
	if !errors.Is(err, errNoAgent) {
		t.Errorf("%v, want that it was not asked for", err)
	}
}
