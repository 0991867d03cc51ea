//go:build integration

package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
)

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	return string(data)
}

// A hung guest leaves evidence: first its agent is stopped, then its CPU, and last QEMU itself.
func TestIntegrationEvidence(t *testing.T) {
	t.Parallel()
	s := guestSpec(t)
	s.Devices = []string{"VGA"}
	m := newPlace(t).boot(t, s)
	m.life.scale = 1

	must(t, m.QMP().Execute(t.Context(), "stop", nil, nil))
	dir, err := m.Evidence().Collect(t.Context(), EvidenceOptions{Why: "its CPU is stopped", Memory: true})
	must(t, err)
	content(t, dir, map[string]string{
		"summary.txt": `(?s)its CPU is stopped.*threads.txt .*taken.*console.txt .*taken.*state.json ` +
			`.*taken.*screen.png .*taken.*registers.txt .*taken.*memory.dump .*taken\n$`,
		"threads.txt":   `(?s)State:.*thread \d+ "qemu-system-x86": [A-Z] \(.*\nwchan: `,
		"console.txt":   `vmtb lab guest: up after`,
		"state.json":    `(?s)"query-status": \{\s*.*"status": "paused".*`,
		"screen.png":    `PNG\r\n`,
		"registers.txt": `(?s)CPU#0.*RIP=[0-9a-f]{16}`,
		"memory.dump":   `^(makedumpfile|KDUMP)`,
	})
	cpu := regexp.MustCompile(`"thread-id": (\d+)`).FindStringSubmatch(read(t, dir, "state.json"))
	if cpu == nil || !strings.Contains(read(t, dir, "threads.txt"), "\nthread "+cpu[1]+" ") {
		t.Errorf("the thread of CPU 0, %q in state.json, is not in threads.txt", cpu)
	}
	if state, err := m.State(t.Context()); state != Paused || err != nil {
		t.Errorf("after the dump: %s, %v, want it paused as before", state, err)
	}
	must(t, m.QMP().Execute(t.Context(), "cont", nil, nil))
	sh(t, m, "true")

	must(t, unix.Kill(m.PID(), unix.SIGSTOP))
	for stopped := false; !stopped; {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.PID()))
		must(t, err)
		stopped = strings.Contains(string(status), "T (stopped)")
	}
	m.life.scale = 0.2
	defer within(t, 30*time.Second)()
	dir, err = m.Evidence().Collect(t.Context(), EvidenceOptions{Why: "QEMU is stopped", Memory: true})
	must(t, err)
	content(t, dir, map[string]string{
		"summary.txt": `(?s)state.json .*not done within 2 s.*screen.png .*left out.*registers.txt .*left ` +
			`out.*memory.dump .*left out.*threads-mute.txt .*taken`,
		"threads.txt":      `T \(stopped\)`,
		"threads-mute.txt": `T \(stopped\)`,
	})
	must(t, unix.Kill(m.PID(), unix.SIGCONT))
}

// If a guest does not boot or its agent falls silent, the error names the evidence's directory.
func TestIntegrationEvidenceInErrors(t *testing.T) {
	t.Parallel()
	s, p := guestSpec(t), newPlace(t)
	s.Kernel.Cmdline += " rdinit=/bin/sleep -- 1000"
	p.Boot = 5 * time.Second // 25 s under emulation
	m := p.run(t, s)
	err := m.WaitReady(t.Context())
	if !errors.As(err, new(*bench.GuestError)) ||
		!strings.Contains(err.Error(), "(evidence: "+m.logs.path("evidence-1")+")") {
		t.Errorf("boot: %T %v", err, err)
	}
	content(t, m.logs.path("evidence-1"), map[string]string{
		"summary.txt": `(?s)the agent did not come up.*state.json .*taken.*no display.*registers.txt .*taken`,
		"console.txt": `\[ +\d`, "registers.txt": "RIP=",
	})

	p = newPlace(t)
	p.Scale, p.Boot = 0.05, 20*time.Minute // a quarter of the agent's deadlines, under emulation
	m = p.boot(t, guestSpec(t))
	sh(t, m, "setsid sh -c 'sleep 0.5; killall -STOP qemu-ga' </dev/null >/dev/null 2>&1 &")
	waitASecond(m)
	_, err = m.ReadFile(t.Context(), "/etc/rc")
	if !errors.As(err, new(*bench.GuestError)) || !strings.Contains(err.Error(), "(evidence: ") {
		t.Errorf("agent: %T %v", err, err)
	}
	if _, err := os.Stat(m.logs.path("evidence-1/summary.txt")); err != nil {
		t.Error(err)
	}
}
