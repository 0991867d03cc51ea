//go:build integration

package qga_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/bench/qga"
)

// BenchmarkExec measures `true` from start to result. "floor" polls over the bare socket, in turns
// with the client. The ratio of both is to be at most 1.5.
func BenchmarkExec(b *testing.B) {
	onBoth(b, func(b *testing.B, a *shared) {
		cmd := bench.Command{Argv: []string{"true"}}
		t := compare(b, func() {
			if r, err := a.client.Exec(b.Context(), cmd); err != nil || !r.OK() {
				b.Fatal(r, err)
			}
		}, func() {
			var started struct{ PID int }
			a.ask(b, &started, `{"execute": "guest-exec", "arguments": {"path": "true", "capture-output": true}}`)
			for status := (struct{ Exited bool }{}); !status.Exited; {
				a.ask(b, &status, `{"execute": "guest-exec-status", "arguments": {"pid": %d}}`, started.PID)
			}
		})
		b.ReportMetric(float64(t.ours.Microseconds()), "µs/median")
		b.ReportMetric(float64(t.theirs.Microseconds()), "µs/floor")
		b.ReportMetric(float64(t.ours)/float64(t.theirs), "ratio")
	})
}

// BenchmarkReadFile measures a file of 8 MiB. "4KiB" reads chunks of that size over the bare
// socket, in turns with the client. The ratio of the rates is to be at least 2.
func BenchmarkReadFile(b *testing.B) {
	const size = 8 << 20
	onBoth(b, func(b *testing.B, a *shared) {
		path := "/tmp/vmtb-bench-" + fmt.Sprint(os.Getpid())
		defer a.run(b, "rm "+path)
		a.run(b, fmt.Sprintf("head -c %d /dev/urandom >%s", size, path))
		t := compare(b, func() {
			if data, err := a.client.ReadFile(b.Context(), path); err != nil || len(data) != size {
				b.Fatal(len(data), err)
			}
		}, func() {
			var handle, n int
			a.ask(b, &handle, `{"execute": "guest-file-open", "arguments": {"path": %q}}`, path)
			for part := (struct {
				Data []byte `json:"buf-b64"`
				EOF  bool
			}{}); !part.EOF; n += len(part.Data) {
				a.ask(b, &part, `{"execute": "guest-file-read", "arguments": {"handle": %d, "count": 4096}}`, handle)
			}
			a.ask(b, nil, `{"execute": "guest-file-close", "arguments": {"handle": %d}}`, handle)
			if n != size {
				b.Fatal(n)
			}
		})
		rate := func(d time.Duration) float64 { return size / 1e6 / d.Seconds() }
		b.ReportMetric(rate(t.ours), "MB/s")
		b.ReportMetric(rate(t.theirs), "MB/s-4KiB")
		b.ReportMetric(rate(t.ours)/rate(t.theirs), "ratio")
	})
}

// BenchmarkStream measures the output rate of a command, as its writer receives it.
func BenchmarkStream(b *testing.B) {
	const size = 32 << 20
	onBoth(b, func(b *testing.B, a *shared) {
		for b.Loop() {
			n := counter(0)
			cmd := bench.Shell(fmt.Sprintf("head -c %d /dev/zero", size))
			cmd.Stdout = &n
			if r, err := a.client.Exec(b.Context(), cmd); err != nil || !r.OK() || n != size {
				b.Fatal(n, r, err)
			}
		}
		b.SetBytes(size)
	})
}

type counter int

func (n *counter) Write(p []byte) (int, error) {
	*n += counter(len(p))
	return len(p), nil
}

// medians are the median times of two ways to do the same.
type medians struct{ ours, theirs time.Duration }

// compare times two ways in turns, so that other load affects both.
func compare(b *testing.B, ours, theirs func()) medians {
	b.Helper()
	ours()
	theirs()
	var times [2][]time.Duration
	for b.Loop() {
		for i, way := range []func(){ours, theirs} {
			began := time.Now()
			way()
			times[i] = append(times[i], time.Since(began))
		}
	}
	b.ReportMetric(0, "ns/op") // the time of both together has no meaning
	return medians{middle(times[0]), middle(times[1])}
}

func middle(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// onBoth measures with an agent on this machine, and with one in a guest.
func onBoth(b *testing.B, measure func(*testing.B, *shared)) {
	b.Run("host", func(b *testing.B) {
		a := startAgent(b)
		measure(b, share(b, func() (net.Conn, error) { return net.Dial("unix", a.socket()) }))
	})
	b.Run("guest", func(b *testing.B) {
		socket := startGuest(b)
		measure(b, share(b, func() (net.Conn, error) { return net.Dial("unix", socket) }))
	})
}

// startGuest boots the lab's tiny guest without package bench/vm, and returns the socket of its
// agent.
func startGuest(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "qga") // short: it contains a socket
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "agent")
	cmd := exec.Command("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "256M",
		"-kernel", os.Getenv("VMTB_TEST_KERNEL"), "-initrd", os.Getenv("VMTB_TEST_INITRD"),
		"-append", "console=ttyS0 panic=-1 cryptomgr.notests mitigations=off",
		"-chardev", "socket,id=agent,path="+socket+",server=on,wait=off",
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return socket
}

// A shared is a connection to an agent. A client uses it, and benchmarks use it directly between
// the client's commands.
type shared struct {
	net.Conn
	client *qga.Client
	others atomic.Bool // the next replies are not for the client
	lines  chan []byte
	buf    []byte
}

// share waits until the agent answers, then returns the connection.
func share(b *testing.B, dial func() (net.Conn, error)) *shared {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	conn, err := dial()
	for ; err != nil && ctx.Err() == nil; conn, err = dial() {
	}
	if err != nil {
		b.Fatal(err)
	}
	a := &shared{Conn: conn, lines: make(chan []byte, 64)}
	a.client = qga.New(a, qga.Options{})
	b.Cleanup(func() { _ = a.client.Close() })
	if err := a.client.Sync(ctx); err != nil {
		b.Fatal(err)
	}
	a.run(b, "true") // the client has read the agent's environment now
	return a
}

// run runs a shell line that must succeed.
func (a *shared) run(b *testing.B, line string) {
	b.Helper()
	if r, err := a.client.Exec(context.Background(), bench.Shell(line)); err != nil || !r.OK() {
		b.Fatal(r, err)
	}
}

// Read reads for the client. Replies to ask go to a.lines instead.
func (a *shared) Read(p []byte) (int, error) {
	for {
		n, err := a.Conn.Read(p)
		if err != nil || !a.others.Load() {
			return n, err
		}
		a.lines <- slices.Clone(p[:n])
	}
}

// ask sends a request without the client.
func (a *shared) ask(b *testing.B, ret any, format string, args ...any) {
	b.Helper()
	a.others.Store(true)
	defer a.others.Store(false)
	if _, err := fmt.Fprintf(a.Conn, format+"\n", args...); err != nil {
		b.Fatal(err)
	}
	for a.buf = a.buf[:0]; !strings.HasSuffix(string(a.buf), "\n"); {
		a.buf = append(a.buf, <-a.lines...)
	}
	reply := struct{ Return any }{ret}
	if err := json.Unmarshal(a.buf, &reply); err != nil {
		b.Fatalf("%v: %s", err, a.buf)
	}
}
