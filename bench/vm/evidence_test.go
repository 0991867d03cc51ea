package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
)

// content checks the files of an evidence directory. want has a regular expression for each file;
// "" means that the file must not exist.
func content(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	for name, re := range want {
		data, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case re == "" && !errors.Is(err, os.ErrNotExist):
			t.Errorf("%s: %q, %v, want none", name, data, err)
		case re != "" && (err != nil || !regexp.MustCompile(re).Match(data)):
			t.Errorf("%s: %v, want %q in\n%s", name, err, re, data)
		}
	}
}

func TestCollectEvidence(t *testing.T) {
	m := bootFake(t, "display")
	must(t, os.WriteFile(m.logs.path("console.log"), []byte("login:\r\n"), 0o644))
	first, err := m.Evidence().Collect(t.Context(), EvidenceOptions{Why: "just so"})
	must(t, err)
	content(t, first, map[string]string{
		"summary.txt": `(?s)^vm0, 20.*\njust so\n.*threads.txt .*taken\nconsole.txt .*taken\nstate.json ` +
			`.*taken\nscreen.png .*taken\nregisters.txt .*taken\n$`,
		"threads.txt":   `(?s)^process \d+\nName:.*\nthread \d+ ".*": [A-Z] \(.*\nwchan: .*\nsyscall: .*`,
		"console.txt":   `^login:\n$`,
		"state.json":    `(?s)"query-status": \{\s*"status": "running"\s*\}.*`,
		"screen.png":    "png",
		"registers.txt": `CPU#0\nRIP=`,
		"memory.dump":   "", "threads-mute.txt": "",
	})
	content(t, first, map[string]string{"state.json": `"query-block": \{\s*"error": "no blocks today"`})

	second, err := m.Evidence().Collect(t.Context(), EvidenceOptions{Why: "with memory", Memory: true})
	must(t, err)
	if first != m.logs.path("evidence-1") || second != m.logs.path("evidence-2") {
		t.Errorf("%s, %s", first, second)
	}
	content(t, second, map[string]string{"summary.txt": `memory.dump .*taken`, "memory.dump": "^kdump-zlib$"})

	must(t, m.Power().Kill(t.Context()))
	third, err := m.Evidence().Collect(t.Context(), EvidenceOptions{})
	must(t, err)
	content(t, third, map[string]string{
		"summary.txt": `(?s)threads.txt .*QEMU has ended\nconsole.txt .*taken\nstate.json .*`, "state.json": "^{}",
	})
}

// A part that fails does not prevent the others.
func TestEvidenceThatFails(t *testing.T) {
	m := bootFake(t, "fails-to-dump")
	dir, err := m.Evidence().Collect(t.Context(), EvidenceOptions{Memory: true})
	must(t, err)
	content(t, dir, map[string]string{
		"summary.txt": `(?s)screen.png .*no display.*\nregisters.txt .*taken\nmemory.dump .*failed dump: failed to ` +
			`save memory\n$`,
		"screen.png":    "",
		"registers.txt": "RIP",
	})
	m.logs.dir = "/none"
	if _, err := m.Evidence().Collect(t.Context(), EvidenceOptions{}); !errors.As(err, new(*bench.InfraError)) ||
		!errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v, want an InfraError", err)
	}
}

// A monitor that stopped answering gets no further question, and the collection ends in time.
func TestEvidenceOfAMuteMonitor(t *testing.T) {
	m := bootFake(t, "hangs")
	m.life.scale = 0.2
	dir, err := m.Evidence().Collect(t.Context(), EvidenceOptions{Memory: true})
	must(t, err)
	content(t, dir, map[string]string{
		"summary.txt": `(?s)registers.txt .*not done within 2 s.*\nmemory.dump .*left out: QEMU's monitor has ` +
			`stopped answering\nthreads-mute.txt .*taken\n$`,
		"threads-mute.txt": "thread",
		"registers.txt":    "",
		"memory.dump":      "",
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("no time"))
	if dir, err = m.Evidence().Collect(ctx, EvidenceOptions{}); err != nil {
		t.Fatal(err)
	}
	content(t, dir, map[string]string{"summary.txt": "registers.txt .*no time"})
}

// A boot that misses its deadline and a silent agent leave evidence, and the error names its
// directory.
func TestEvidenceInErrors(t *testing.T) {
	m, err := startFake(t, "")
	must(t, err)
	m.opts.Boot = 100 * time.Millisecond
	err = m.WaitReady(t.Context())
	if !errors.As(err, new(*bench.GuestError)) || !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "(evidence: "+m.logs.path("evidence-1")+")") {
		t.Errorf("boot: %T %v", err, err)
	}
	content(t, m.logs.path("evidence-1"), map[string]string{
		"summary.txt": "not ready within 100 ms, 0 resets seen: the agent did not come up",
	})

	m, err = startFakeScaled(t, "agent", 0.02)
	must(t, err)
	for n := range 2 { // guest-file-open never gets an answer
		_, err = m.ReadFile(t.Context(), "/x")
		if !errors.As(err, new(*bench.GuestError)) || strings.Contains(err.Error(), "(evidence: ") != (n == 0) {
			t.Errorf("agent, time %d: %T %v", n+1, err, err)
		}
	}
	content(t, m.logs.path("evidence-1"), map[string]string{"summary.txt": "guest-file-open"})
	m.logs.dir = "/none"
	if err := m.evidence.addTo(t.Context(), context.DeadlineExceeded); !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "no evidence: ") {
		t.Errorf("no folder: %v", err)
	}
}

// Off collects evidence before it cuts off a guest, only if the guest did not obey its shutdown.
func TestEvidenceBeforeForce(t *testing.T) {
	for _, c := range []struct {
		can  string
		do   func(*VM) context.Context // before Off
		want bool
	}{
		{"agent", func(*VM) context.Context { return t.Context() }, true},
		{"agent acpi refuses-shutdown", func(*VM) context.Context { return t.Context() }, false},
		{"agent panics-later", func(m *VM) context.Context {
			_, err := m.ReadFile(t.Context(), "/x")
			if !errors.Is(err, ErrPanic) {
				t.Error(err)
			}
			return t.Context()
		}, false},
		{"agent", func(*VM) context.Context {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx
		}, false},
	} {
		m, err := startFake(t, c.can, func(_ *Spec, o *Options) {
			if c.want { // the deadline must pass
				o.Shutdown = 100 * time.Millisecond
			}
		})
		must(t, err)
		must(t, m.WaitReady(t.Context()))
		if _, err := m.Power().Off(c.do(m)); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(m.logs.path("evidence-1/threads.txt")); (err == nil) != c.want {
			t.Errorf("%s: evidence: %v, want some: %v", c.can, err, c.want)
		}
	}
}

func TestRoster(t *testing.T) {
	var none *Roster
	none.add(nil)
	r := &Roster{}
	enter := func(s *Spec, o *Options) { o.Roster = r }
	dead, err := startFake(t, "agent", enter)
	must(t, err)
	must(t, dead.Power().Kill(t.Context()))
	if got := r.Alive(); len(got) != 0 {
		t.Errorf("alive: %v", got)
	}
	m, err := startFake(t, "agent", enter)
	must(t, err)
	if len(r.machines) != 1 {
		t.Errorf("in the roster: %v, want only %v", r.machines, m)
	}
	lines := r.CollectEvidence(t.Context(), EvidenceOptions{Why: "of all"})
	if len(lines) != 1 || lines[0] != "vm0: "+m.logs.path("evidence-1") {
		t.Errorf("%q", lines)
	}
	m.logs.dir = "/none"
	if lines := r.CollectEvidence(t.Context(), EvidenceOptions{}); len(lines) != 1 ||
		!strings.Contains(lines[0], "no such file") {
		t.Errorf("%q", lines)
	}
}
