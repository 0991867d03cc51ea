package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vmtb"
	"vmtb/bench/undo"
	"vmtb/flow"
	"vmtb/internal/atomicfile"
)

// The test binary also runs as vmtb, with toy flows, and as vmtb-fleet.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch args := os.Args[2:]; os.Args[1] {
		case "as-vmtb":
			if len(args) > 0 && args[0] == "labels" {
				data, err := os.ReadFile(filepath.Join(os.Getenv("TOY_DIR"), "labels.json"))
				if err != nil {
					os.Exit(3)
				}
				_, _ = os.Stdout.Write(data)
				return
			}
			os.Args = append([]string{"vmtb"}, args...)
			os.Exit(vmtb.Main(context.Background(), os.Args, registerToys))
		case "as-fleet":
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := run(ctx, args, os.Stdout, os.Stderr)
			stop()
			os.Exit(code)
		}
	}
	os.Exit(m.Run())
}

// A toy is a parameter of flows that need neither root nor a GPU. "12VF-toy7" needs 12 VFs.
type toy string

func (p toy) String() string { return string(p) }

func registerToys(r *flow.Registry) {
	var many []toy
	for i := range 40 {
		many = append(many, toy(fmt.Sprintf("%dVF-toy%d", []int{1, 4, 12}[i%3], i)))
	}
	class := func(name string, params []toy, cases ...string) {
		c := flow.Class[toy, toy]{
			Name: name, Params: params, Unprivileged: name != "TestRoot",
			Fixture: flow.Fixture[toy, toy]{SetUp: setUpToy},
		}
		for _, n := range cases {
			c.Cases = append(c.Cases, flow.Case[toy]{
				Name: n, Func: func(ctx context.Context, t *flow.T, p toy) { play(ctx, t, n, p) },
			})
		}
		flow.Add(r, "test_toy", c)
	}
	class("TestMany", many, "test_one", "test_two", "test_three")
	class("TestToy", many[:24], "test_one", "test_two", "test_three")
	class("TestDie", []toy{"1VF-die"}, "test_die", "test_after")
	class("TestSlow", []toy{"1VF-slow", "4VF-slow"}, "test_begin", "test_wait", "test_end")
	class("TestThree", []toy{"1VF-x", "1VF-y", "1VF-z"}, "test_begin", "test_wait", "test_end")
	class("TestRoot", []toy{"1VF-root"}, "test_wait")
	class("TestWeak", []toy{"1VF-a", "1VF-b", "1VF-c", "1VF-d", "1VF-e", "1VF-f"}, "test_weak")
	class("TestHealth", []toy{"x"}, "test_health")
}

// toyFile returns the path of a file of the DUT. Tests and flows use such files as signals.
func toyFile(name string) string { return filepath.Join(os.Getenv("TOY_DIR"), name) }

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// setUpToy changes the DUT: the file "changed" exists as long as the fixture.
func setUpToy(ctx context.Context, env *flow.Env, p toy) (toy, error) {
	if exists(toyFile("broken")) {
		return p, errors.New("the DUT is broken")
	}
	path := toyFile("changed-" + p.String())
	if exists(toyFile("sticky")) { // a change that cannot be undone: a directory that is not empty
		path = toyFile("sticky")
		return p, env.Do(ctx, undo.Path{Path: path}, func() error { return nil })
	}
	return p, env.Do(ctx, undo.Path{Path: path}, func() error { return os.WriteFile(path, nil, 0o600) })
}

func play(ctx context.Context, t *flow.T, name string, p toy) {
	t.Logf("on %s", os.Getenv("TOY_DIR"))
	switch name {
	case "test_die": // kills its agent, too, after a time in which the log is sent
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "test_wait": // waits for the file "go"
		if err := os.WriteFile(toyFile("waiting"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for !exists(toyFile("go")) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	case "test_one", "test_two", "test_three":
		h := fnv.New32a()
		fmt.Fprint(h, name, p)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(20+h.Sum32()%200) * time.Millisecond):
		}
		if strings.HasSuffix(p.String(), "toy13") && name == "test_two" {
			t.Errorf("the toy is broken")
		}
	}
}

// A lab is an engine and DUTs, each in its own process.
type lab struct {
	t         *testing.T
	dir, self string
	port      int
	lost      time.Duration

	mu    sync.Mutex
	procs map[string]*exec.Cmd

	outside []string // public keys in the configuration of natsServer
}

// newLab starts an engine for a test. The test runs in parallel with others, because all of them
// wait most of the time.
func newLab(t *testing.T, lost time.Duration) *lab {
	t.Helper()
	t.Parallel()
	return startLab(t, lost)
}

func startLab(t *testing.T, lost time.Duration) *lab {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fleet-test") // in memory, so that syncing costs no time
	if err != nil {
		dir = t.TempDir()
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	lab := &lab{t: t, dir: dir, self: self, port: port, lost: lost, procs: map[string]*exec.Cmd{}}
	t.Cleanup(func() {
		for name := range lab.running() {
			lab.kill(name)
		}
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, f := range logs {
			if text, _ := os.ReadFile(f); bytes.Contains(text, []byte("DATA RACE")) ||
				bytes.Contains(text, []byte("panic:")) {
				t.Errorf("%s has a race, or a panic", filepath.Base(f))
			}
		}
		if t.Failed() {
			for _, f := range logs {
				text, _ := os.ReadFile(f)
				t.Logf("%s:\n%s", filepath.Base(f), text[max(0, len(text)-6000):])
			}
		}
		_ = os.RemoveAll(dir)
	})
	if natsServer != "" {
		lab.enrollOutside("admin", roleAdmin, filepath.Join(dir, "state", "admin.key"))
	}
	lab.start("server")
	return lab
}

func (l *lab) running() map[string]*exec.Cmd {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := map[string]*exec.Cmd{}
	for k, v := range l.procs {
		m[k] = v
	}
	return m
}

// address returns the address on which the engine listens.
func (l *lab) address() string { return fmt.Sprintf("127.0.0.1:%d", l.port) }

func (l *lab) toyDir(dut string) string { return filepath.Join(l.dir, dut) }
func (l *lab) vmtb() string             { return l.self + " as-vmtb" }

// start starts the server, or a DUT's agent.
func (l *lab) start(name string, more ...string) {
	l.t.Helper()
	args := []string{
		"serve", "--dir", filepath.Join(l.dir, "state"), "--listen", fmt.Sprintf("127.0.0.1:%d", l.port), "--url",
		fmt.Sprintf("tls://127.0.0.1:%d", l.port),
	}
	if name != "server" {
		args = []string{
			"agent", "--key", filepath.Join(l.dir, name+".key"), "--spool", filepath.Join(l.dir, name, "spool"),
			"--vmtb", l.vmtb(),
		}
	}
	cmd := exec.Command(l.self, append(append([]string{"as-fleet"}, args...), more...)...)
	if name == "server" && natsServer != "" {
		cmd = exec.Command(natsServer, "-c", filepath.Join(l.dir, "state", "nats.conf"))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(
		os.Environ(), "TOY_DIR="+l.toyDir(name), "VMTB_STATE_DIR="+filepath.Join(l.toyDir(name), "state"),
		"GORACE=atexit_sleep_ms=0",
	)
	log, err := os.OpenFile(filepath.Join(l.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	l.procs[name] = cmd
	l.mu.Unlock()
}

// dut enrolls a DUT with labels, and starts its agent.
func (l *lab) dut(name string, labels map[string]string, more ...string) {
	l.t.Helper()
	if err := os.MkdirAll(l.toyDir(name), 0o755); err != nil {
		l.t.Fatal(err)
	}
	l.label(name, labels)
	if file := filepath.Join(l.dir, name+".key"); natsServer != "" {
		l.enrollOutside(name, roleDUT, file)
	} else {
		l.must("enroll", name, "-o", file)
	}
	l.start(name, more...)
}

func (l *lab) label(name string, labels map[string]string) {
	l.t.Helper()
	data, err := json.Marshal(labels)
	if err == nil {
		err = atomicfile.WriteFile(filepath.Join(l.toyDir(name), "labels.json"), data, 0o600)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// put makes or deletes a file of a DUT.
func (l *lab) put(dut, name string, there bool) {
	l.t.Helper()
	path := filepath.Join(l.toyDir(dut), name)
	err := os.WriteFile(path, nil, 0o600)
	if !there {
		err = os.Remove(path)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// byHand starts vmtb on a DUT without the agent, as a person would.
func (l *lab) byHand(dut string, args ...string) *exec.Cmd {
	l.t.Helper()
	cmd := exec.Command(l.self, append([]string{"as-vmtb"}, args...)...)
	cmd.Env = append(os.Environ(), "TOY_DIR="+l.toyDir(dut), "VMTB_STATE_DIR="+filepath.Join(l.toyDir(dut), "state"))
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	return cmd
}

// has reports whether a DUT has a file whose name matches.
func (l *lab) has(dut, pattern string) bool {
	names, _ := filepath.Glob(filepath.Join(l.toyDir(dut), pattern))
	return len(names) > 0
}

// run runs a command as the administrator.
func (l *lab) run(args ...string) (out string, code int) {
	l.t.Helper()
	var stdout, stderr bytes.Buffer
	key := "--key=" + filepath.Join(l.dir, "state", "admin.key")
	l.wait("the key of the administrator", func() bool { return exists(strings.TrimPrefix(key, "--key=")) })
	args = append([]string{args[0], key}, args[1:]...)
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	code = run(ctx, args, &stdout, &stderr)
	return stdout.String() + stderr.String(), code
}

func (l *lab) must(args ...string) string {
	l.t.Helper()
	var out string
	l.wait(args[0], func() bool { // the server may have just been started
		var code int
		out, code = l.run(args...)
		starting := strings.Contains(out, "does not answer")
		if code != 0 && !starting {
			l.t.Fatalf("%v: %d %s", args, code, out)
		}
		return code == 0
	})
	return out
}

func (l *lab) submit(args ...string) string {
	l.t.Helper()
	out := l.must(append([]string{"submit", "--vmtb", l.vmtb(), "--lost-after", l.lost.String()}, args...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines {
		if nameForm.MatchString(line) {
			return line
		}
	}
	l.t.Fatalf("submit %v: %s", args, out)
	return ""
}

// wait waits until a condition is true.
func (l *lab) wait(what string, so func() bool) {
	l.t.Helper()
	deadline := time.Now().Add(5 * time.Minute) // long enough for a busy machine
	for !so() {
		if time.Now().After(deadline) {
			l.t.Fatalf("not so within 5 minutes: %s", what)
		}
		select {
		case <-l.t.Context().Done():
			l.t.Fatal("interrupted")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// children returns the processes of vmtb on a DUT, also after the end of their agent.
func (l *lab) children(dut string) (pids []int) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range environs {
		env, _ := os.ReadFile(f)
		var pid int
		if _, err := fmt.Sscanf(f, "/proc/%d/environ", &pid); err == nil &&
			bytes.Contains(env, []byte("TOY_DIR="+l.toyDir(dut)+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill kills a process and its processes of vmtb with SIGKILL, as if the machine had lost its
// power.
func (l *lab) kill(name string) {
	l.killAgent(name)
	for _, pid := range l.children(name) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// killAgent kills only the process, not its children.
func (l *lab) killAgent(name string) {
	l.mu.Lock()
	cmd := l.procs[name]
	delete(l.procs, name)
	l.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// admin returns a connection of the administrator.
func (l *lab) admin() *bus {
	l.t.Helper()
	l.must("duts")
	k, err := readKey(filepath.Join(l.dir, "state", "admin.key"))
	if err != nil {
		l.t.Fatal(err)
	}
	b, err := connect(l.t.Context(), k)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(b.nc.Close)
	return b
}

// done returns the results of a run's units.
func (l *lab) done(b *bus, id string) map[string]result {
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Second)
	defer cancel()
	r, err := all[result](ctx, b, "result", id+".*")
	if err != nil {
		return nil // the server may be away
	}
	return r
}

// queued returns the number of units in the queue.
func (l *lab) queued(b *bus) uint64 {
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Second)
	defer cancel()
	s, err := b.js.Stream(ctx, unitStream)
	if err != nil {
		return 1
	}
	return s.CachedInfo().State.Msgs
}

// fetch downloads a run, and checks that its plan has the number of flows and that reports exist.
func (l *lab) fetch(id string, flows int) *flow.RunDir {
	l.t.Helper()
	dir := filepath.Join(l.t.TempDir(), "fetched")
	l.must("fetch", id, "-o", dir, "--report=junit", "--vmtb", l.vmtb())
	run, err := flow.OpenRun(dir)
	if err != nil {
		l.t.Fatal(err)
	}
	if !exists(filepath.Join(dir, "junit.xml")) || !exists(filepath.Join(dir, "results.json")) {
		l.t.Error("no reports")
	}
	if len(run.Info.Plan) != flows {
		l.t.Errorf("%d flows in the plan, want %d", len(run.Info.Plan), flows)
	}
	return run
}

// counts returns the number of flows with each result in a fetched run.
func counts(run *flow.RunDir) map[flow.Result]int {
	var s flow.Summary
	for _, e := range run.Entries {
		s.Add(e)
	}
	return s.Counts
}
