//go:build integration

package qmp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vmtb/bench/qmp"
)

// startQEMU starts a real QEMU whose processor does not run, and returns the path of its monitor.
// QEMU ends with the test.
func startQEMU(t testing.TB, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "qmp")
	var stderr bytes.Buffer
	cmd := exec.Command("qemu-system-x86_64", append([]string{
		"-S", "-display", "none", "-nodefaults", "-accel", "tcg", "-m", "16",
		"-chardev", "socket,id=qmp,server=on,wait=off,path=" + path, "-mon", "chardev=qmp,mode=control",
	}, args...)...)
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("this test needs QEMU (Debian: qemu-system-x86): %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("QEMU said: %s", &stderr)
		}
	})
	return path
}

func dialQEMU(t testing.TB, path string, o qmp.Options) *qmp.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		c, err := qmp.Dial(ctx, path, o)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		if ctx.Err() != nil || !errors.Is(err, os.ErrNotExist) && !strings.Contains(err.Error(), "refused") {
			t.Fatal(err)
		}
	}
}

func execute(t testing.TB, c *qmp.Client, cmd string, ret any) {
	t.Helper()
	if err := c.Execute(t.Context(), cmd, nil, ret); err != nil {
		t.Fatal(err)
	}
}

func status(t testing.TB, c *qmp.Client) string {
	t.Helper()
	var s struct{ Status string }
	execute(t, c, "query-status", &s)
	return s.Status
}

func TestIntegrationQEMU(t *testing.T) {
	var log bytes.Buffer
	path := startQEMU(t, "-machine", "q35")
	c := dialQEMU(t, path, qmp.Options{Transcript: &log})
	if v := c.Version(); v.Major < 7 {
		t.Errorf("version %v", v)
	}

	var schema json.RawMessage
	execute(t, c, "query-qmp-schema", &schema)
	var entries []struct{ Name string }
	if err := json.Unmarshal(schema, &entries); err != nil || len(entries) < 500 || len(schema) < 200<<10 {
		t.Errorf("schema: %d bytes, %d entries, %v", len(schema), len(entries), err)
	}
	t.Logf("%v %s: the schema has %d bytes, %d entries", c.Version(), c.Version().Package, len(schema), len(entries))

	sub := c.Subscribe(nil)
	if got := status(t, c); got != "prelaunch" {
		t.Errorf("status %s", got)
	}
	execute(t, c, "cont", nil)
	execute(t, c, "stop", nil)
	for _, want := range []string{"RESUME", "STOP"} {
		if e, err := sub.Next(t.Context()); err != nil || e.Name != want || time.Since(e.Time).Abs() > time.Minute {
			t.Errorf("event %v, %v, want %s", e, err, want)
		}
	}

	var refusal *qmp.Error
	if err := c.Execute(t.Context(), "no-such-command", nil, nil); !errors.As(err, &refusal) ||
		refusal.Class != "CommandNotFound" {
		t.Errorf("unknown command: %v", err)
	}
	err := c.Execute(t.Context(), "device_del", map[string]any{"id": "nope"}, nil)
	if !errors.As(err, &refusal) || refusal.Class != "DeviceNotFound" {
		t.Errorf("unknown device: %v", err)
	}

	if err := c.Execute(t.Context(), "quit", nil, nil); err != nil && !errors.Is(err, qmp.ErrClosed) {
		t.Errorf("quit: %v", err)
	}
	<-c.Done()
	if !errors.Is(c.Err(), qmp.ErrClosed) {
		t.Errorf("after quit: %v", c.Err())
	}
	if err := c.Execute(t.Context(), "query-status", nil, nil); !errors.Is(err, qmp.ErrClosed) {
		t.Errorf("after quit: %v", err)
	}
	last, err := qmp.Event{}, error(nil)
	for e := last; err == nil; e, err = sub.Next(t.Context()) {
		last = e
	}
	if !errors.Is(err, qmp.ErrClosed) || last.Name != "SHUTDOWN" {
		t.Errorf("the last event is %v, then %v", last, err)
	}
	_ = c.Close()
	for line := range bytes.Lines(log.Bytes()) {
		if !json.Valid(line) {
			t.Errorf("in the transcript: %s", line)
		}
	}
	if !bytes.Contains(log.Bytes(), []byte("query-qmp-schema")) || log.Len() < len(schema)/2 {
		t.Errorf("a transcript of %d bytes", log.Len())
	}
}

// QEMU serves one client after another, and greets each.
func TestIntegrationQEMUReconnect(t *testing.T) {
	path := startQEMU(t, "-machine", "none")
	first := dialQEMU(t, path, qmp.Options{})
	_, err := qmp.Dial(t.Context(), path, qmp.Options{GreetingTimeout: 200 * time.Millisecond})
	var timeout *qmp.TimeoutError
	if !errors.As(err, &timeout) || timeout.Cmd != "greeting" {
		t.Errorf("a second client got %v", err)
	}
	_ = first.Close()
	second := dialQEMU(t, path, qmp.Options{})
	if got := status(t, second); got != "prelaunch" {
		t.Errorf("status %s", got)
	}
}

// QEMU answers a malformed request without an id. This ends the connection, and no caller waits for
// the reply.
func TestIntegrationQEMUParseError(t *testing.T) {
	path := startQEMU(t, "-machine", "none")
	c := dialQEMU(t, path, qmp.Options{})
	tooDeep := json.RawMessage(strings.Repeat("[", 2000) + strings.Repeat("]", 2000))
	err := c.Execute(t.Context(), "query-status", tooDeep, nil)
	if !errors.Is(err, qmp.ErrClosed) || !strings.Contains(err.Error(), "did not understand") {
		t.Errorf("got %v", err)
	}
}

func TestIntegrationQEMULoad(t *testing.T) {
	const workers, queries, turns = 64, 100, 50
	c := dialQEMU(t, startQEMU(t, "-machine", "q35"), qmp.Options{Transcript: io.Discard})
	undrained := c.Subscribe(nil)
	began := time.Now()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for q := range queries {
				switch w % 3 { // three kinds of reply: a mixed-up reply does not decode
				case 0:
					var s struct{ Status string }
					if err := c.Execute(t.Context(), "query-status", nil, &s); err != nil || s.Status == "" {
						t.Errorf("%d/%d: %v %v", w, q, s, err)
						return
					}
				case 1:
					var v struct{ QEMU qmp.Version }
					if err := c.Execute(t.Context(), "query-version", nil, &v); err != nil ||
						v.QEMU.Major != c.Version().Major {
						t.Errorf("%d/%d: %v %v", w, q, v, err)
						return
					}
				case 2:
					var name string
					args := map[string]string{"path": "/machine", "property": "type"}
					if err := c.Execute(t.Context(), "qom-get", args, &name); err != nil ||
						!strings.HasPrefix(name, "pc-q35") {
						t.Errorf("%d/%d: %q %v", w, q, name, err)
						return
					}
				}
			}
		})
	}
	wg.Go(func() {
		for range turns {
			for _, cmd := range []string{"cont", "stop"} {
				if err := c.Execute(t.Context(), cmd, nil, nil); err != nil {
					t.Error(err)
				}
			}
		}
	})
	wg.Wait()
	t.Logf("%d queries of %d goroutines in %v", workers*queries, workers, time.Since(began))
	_ = c.Close()
	seen := map[string]int{}
	for {
		e, err := undrained.Next(t.Context())
		if err != nil {
			break
		}
		seen[e.Name]++
	}
	if seen["STOP"] != turns || seen["RESUME"] != turns {
		t.Errorf("events: %v, want %d of each", seen, turns)
	}
}

func TestIntegrationQEMUJobs(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-f", "qcow2", disk, "64M").CombinedOutput(); err != nil {
		t.Fatalf("this test needs qemu-img (Debian: qemu-utils): %v: %s", err, out)
	}
	c := dialQEMU(t, startQEMU(t, "-machine", "q35", "-device", "virtio-blk-pci,drive=disk0",
		"-blockdev", "driver=qcow2,node-name=disk0,file.driver=file,file.filename="+disk), qmp.Options{})
	snapshot := func(tag string) map[string]any {
		return map[string]any{"tag": tag, "vmstate": "disk0", "devices": []string{"disk0"}}
	}
	if err := c.RunJob(t.Context(), "snapshot-save", snapshot("one")); err != nil {
		t.Error(err)
	}
	if err := c.RunJob(t.Context(), "snapshot-load", snapshot("one")); err != nil {
		t.Error(err)
	}
	for cmd, want := range map[string]string{
		"snapshot-load": "'two' does not exist", "snapshot-save": "'one' already exists",
	} {
		tag := strings.Split(want, "'")[1]
		err := c.RunJob(t.Context(), cmd, snapshot(tag))
		var failed *qmp.JobError
		if !errors.As(err, &failed) || failed.Cmd != cmd || !strings.Contains(failed.Desc, want) {
			t.Errorf("%s %s: %v, want %q", cmd, tag, err, want)
		}
	}
	if err := c.RunJob(t.Context(), "snapshot-save", nil); !errors.As(err, new(*qmp.Error)) {
		t.Errorf("without arguments: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // during the job, or just before or after it
		sub := c.Subscribe(func(e qmp.Event) bool { return e.Name == "JOB_STATUS_CHANGE" })
		_, _ = sub.Next(ctx)
		cancel()
	}()
	if err := c.RunJob(ctx, "snapshot-save", snapshot("three")); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	var jobs []json.RawMessage
	execute(t, c, "query-jobs", &jobs)
	if len(jobs) != 0 {
		t.Errorf("jobs are left: %s", jobs)
	}
}

// BenchmarkQuery measures a query's round trip. "floor" is the same over a bare socket, in turns
// with it.
func BenchmarkQuery(b *testing.B) {
	bare := bareQuery(b)
	c := dialQEMU(b, startQEMU(b, "-machine", "none"), qmp.Options{})
	var times, floors []time.Duration
	for b.Loop() {
		began := time.Now()
		execute(b, c, "query-status", nil)
		times = append(times, time.Since(began))
		began = time.Now()
		bare()
		floors = append(floors, time.Since(began))
	}
	median, floor := middle(times), middle(floors)
	b.ReportMetric(float64(median.Microseconds()), "µs/median")
	b.ReportMetric(float64(floor.Microseconds()), "µs/floor")
	b.ReportMetric(float64(median)/float64(floor), "ratio")
}

func middle(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// bareQuery returns a function that asks query-status without a client.
func bareQuery(b *testing.B) func() {
	b.Helper()
	path := startQEMU(b, "-machine", "none")
	_ = dialQEMU(b, path, qmp.Options{}).Close() // wait until QEMU answers
	conn, err := net.Dial("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	buf := make([]byte, 64<<10)
	ask := func(text string) {
		if _, err := io.WriteString(conn, text); err != nil {
			b.Fatal(err)
		}
		for got := ""; !strings.Contains(got, `"return"`); {
			n, err := conn.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			got += string(buf[:n])
		}
	}
	ask(`{"execute": "qmp_capabilities"}` + "\n")
	return func() { ask(`{"execute": "query-status"}` + "\n") }
}
